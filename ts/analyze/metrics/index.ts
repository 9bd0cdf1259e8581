/** Figures of merit. Classes take batches by `update` and give the figure of all of them by `result`, in constant memory. */
export { argmaxRows, percentile, probabilityLoyalty, shareEqual, topKShare, wilsonInterval } from './shares.js'
export { Bleu, type BleuFigures, type BleuOptions, type Tokens } from './bleu.js'
export { ConfusionMatrix, type ClassFigures, type ClassificationFigures } from './classification.js'
export { editDistance, ErrorRate, type ErrorRateFigures } from './edit-distance.js'
export { Loyalty, type LoyaltyFigures } from './loyalty.js'
export { Perplexity, type PerplexityFigures } from './perplexity.js'
export { pearson, ranks, Regression, spearman, type RegressionFigures } from './regression.js'
