/** The same package with Electron Forge instead of electron-builder: addons stay files, all else goes into the archive. */
module.exports = {
  packagerConfig: {
    asar: { unpack: '**/*.node' },
    ignore: [/^\/(make-model|strokes|forge\.config)\.cjs$/, /^\/node_modules\/tersor\/native\//],
  },
  rebuildConfig: { onlyModules: [] }, // the addon speaks Node-API: one binary for every Node and Electron
}
