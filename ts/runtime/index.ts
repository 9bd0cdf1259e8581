export { session, Session, type RunOptions, type SessionFunction, type SessionInfo, type SessionOptions } from './session.js'
export type { SessionClass } from './session-class.js'
export { Profile, type ProfileStep } from './profile.js'
export type { SessionInput, SessionInputs, SessionValue } from './values.js'
/** Long work off the calling thread. */
export { compressInWorker, trainInWorker, trainTaskInWorker, type WorkerOptions } from './worker/in-worker.js'
export { speeds, type LayerSpeed, type SpeedOptions, type Speeds } from './speed.js'
