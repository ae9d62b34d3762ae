// The binary interface between wrapper and core: compiled by asc and imported by src/. Constants only.
//
// A program is a list of 32-bit words in linear memory:
//
//   instruction   [ op | words | operand … ]         `words` counts the whole instruction
//   loop          [ FOR_* | words | bodyWords | … ]  followed by bodyWords words of instructions
//
// Operands are addresses of the records below, or plain numbers (f32 operands by their bits).
// Every address that depends on where the program is (step, sample, block, rank) goes through a view.

/** Raised whenever the meaning of a program, or the bits of any result, changes. */
export const ABI_VERSION = 4;

/** Instructions. */
export const enum Op {
  End = 0,
  // control
  ForBlocks, // body; blocks of samples, each by the rank that comes for it first
  ForSamples, // body; samples of the block, ascending
  ForSteps, // body, count, direction (1 up, 0 down)
  ForBatch, // body, when: once a batch, 0 before the first block, 1 after the last one
  AfterFirst, // body, in every step but the first
  Clear, // view, bytes, 1 if each rank clears a share of them: of a multiple of 64
  Copy, // destination view, source view, rows, row bytes, destination stride, source stride
  FromStep, // body, step; the body runs from that step on
  ForShare, // body; samples of the batch, ascending, each rank a share of them
  RankZero, // body; rank 0 alone runs it
  Barrier, // no rank goes on before all are here
  KeepUp, // lag, 1 or 0: so many points passed; no rank goes on before all have passed all its points but `lag`. Tickets stay
  Survey, // survey record; each rank looks at its share
  Commit, // body, which changes parameters; no rank runs it if Team.Step is Held or Unsound, none or all do
  ForGroups, // body, samples a group; groups of neighbouring samples of the block, ascending
  ForLanes, // body; samples of the group, ascending; to views the place in the group stands for the block
  // encode
  PoissonSetup, // see encode/poisson.ts
  PoissonStep,
  Dropout,
  Latency, // see encode/latency.ts
  TimesEncode, // spike-time encoder record
  // synapses
  FanoutForward, // fanout record
  FanoutBackward, // fanout record, flags
  RouteForward, // route record
  RouteBackward, // route record, flags
  CountOperations, // fanout record, counter view
  BiasForward, // bias record
  BiasBackward, // bias record
  BiasGradient, // bias record, 0, 1 or update record as in ProductBackward: of all samples; ranks share the channels
  ProductGather, // product record
  ProductForward, // product record, after ProductGather
  ProductBackward, // product record, after ProductGather; 0 to write the gradient, 1 to add to it, or the update record of a step
  // of Adamax that is taken in place of writing it: of weights whose rows are as wide as a panel
  Transpose, // destination view, source view, rows, columns, source stride
  PatchForward, // patch record
  PatchBackward, // patch record: adds to its sums
  PatchGradient, // patch record: its sums in the weights' order
  MaxPoolForward, // max pool record
  MaxPoolBackward,
  Divide, // view, f32 elements, f32 divisor
  Multiply, // view, view of factors, f32 elements
  NormSum, // norm record; see synapse/batchnorm.ts
  NormMean,
  NormSquares,
  NormFinish,
  NormFixed,
  NormBackwardSum,
  NormBackwardFinish,
  NormBackwardApply,
  SweepForward, // fanout record, steps; see synapse/sweep.ts
  SweepBackward, // fanout record, steps, flags
  FieldPoolForward, // field pool record
  FieldPoolBackward,
  DirectGather, // direct record
  DirectForward,
  DirectBackward,
  Deliver, // deliver record
  SortTimes, // timeline sort record
  EarliestForward, // earliest pool record
  EarliestBackward,
  // neurons
  LeeForward,
  LeeFactor,
  LeeBackward,
  LeePoolForward,
  LeeOutput,
  BpstaForward, // bpsta record
  BpstaBackward,
  Vote, // vote record
  VoteBackward,
  BypassForward, // bpsta record; see neuron/bypass.ts
  BypassBackward,
  MaxValuesForward, // max pool record
  MaxValuesBackward,
  VoteValues, // vote record
  MeanFrame, // destination view, source view, f32 elements, frames, bytes between frames
  SurrogateForward, // surrogate record, steps from the current one on, of the same currents
  SurrogateBackward,
  SurrogateLearn,
  StdbpForward, // stdbp layer record
  StdbpBackward,
  DecolleTrace, // trace record
  DecolleForward, // decolle record
  DecolleDense, // decolle dense record: all steps
  DecollePool, // decolle record
  DecolleScore, // local record
  DecolleRegularize, // local record
  DecolleDelta, // local record
  SmoothSpikes, // smooth record
  // learning
  SquaredError,
  CrossEntropy,
  GivenGradient,
  StepLoss, // step loss record
  Reduce,
  Sgd, // update record
  Adam, // update record
  Adamax, // update record
  Advance, // hyper record: before the first update record of every step
  TimesLoss, // spike-time loss record, 1 if dL/dt is given
  WeightSumPenalty, // weight sum record
  NudgeSilent, // nudge record
  Clip, // clip record
}

/** A view resolves to base + rank·perRank + block·perBlock + sample·perSample + step·perStep (bytes). */
export const enum View {
  Base = 0,
  PerRank = 4,
  PerBlock = 8,
  PerSample = 12,
  PerStep = 16,
  Size = 20,
}

/** Where one rank is in its program; what others wait for stands by itself. */
export const enum Frame {
  Step = 0,
  Sample = 4,
  Block = 8,
  Rank = 12,
  Ranks = 16,
  Events = 20, // address of the rank's event list
  Control = 24, // address of the control record
  Team = 28, // address of the team record
  GroupFirst = 32, // first sample of the group
  GroupEnd = 36,
  Ticket = 40, // drawn from Team.Next and not used yet, or NO_TICKET
  Base = 44, // tickets of the instructions since the last barrier that are done with
  Points = 128, // points passed since the last barrier, atomic
  Size = 256, // pairs of cache lines, which processors fetch together: no rank writes where another one reads
}

/** In Frame.Ticket. All bits are set. */
export const NO_TICKET = -1;

/** What the ranks of a program share, all of it atomic; the wrapper sets it to 0 before they start. */
export const enum Team {
  Arrived = 0, // ranks waiting at the barrier
  Passed = 4, // barriers passed; those that wait see it change
  Next = 8, // tickets drawn since the last barrier: who draws one does the next part of an instruction
  Stop = 12, // 1: give up
  Done = 16, // ranks that have come to the end of a program
  Step = 20, // TeamStep
  Spins = 24, // loads fewer than the most before a rank sleeps at a barrier
  Size = 64,
}

/** Whether the ranks change parameters at the end of a batch. Who first takes it from Open decides for all. */
export const enum TeamStep {
  Open = 0,
  Begun = 1,
  Held = 2, // somebody reads the parameters: the step is left to the wrapper
  Unsound = 3, // the wrapper has to look at the gradients
}

/** What changes from batch to batch; written by the wrapper, read by the core. */
export const enum Control {
  Samples = 0, // samples in the batch
  Blocks = 4, // blocks the batch is cut into, at most MAX_BLOCKS
  FirstBlock = 8, // run blocks FirstBlock … EndBlock - 1
  EndBlock = 12,
  Epoch = 16,
  SampleIds = 20, // address of one u32 a sample: its place in the data set
  FirstStep = 24, // added to the step in random numbers: a live network is fed step by step
  Size = 32,
}

/** A layer's activity: spikes as bits (rows padded to whole words) or real values, [row][position] with channels last. */
export const enum Activity {
  Kind = 0, // ActivityKind
  Rows = 4,
  RowLength = 8, // positions a row: width × channels
  RowWords = 12, // bit rows: 32-bit words a row
  Data = 16, // view: the bits of a step, or f32 [rows × row length]
  Amplitude = 20, // view: f32 [rows × row length] by which each spike counts (mask, sign); 0 if every spike counts 1
  Size = 24,
}

export const enum ActivityKind {
  Bits = 0,
  Values = 1,
  All = 2, // every position, spiking or not: where G is needed everywhere
}

/**
 * A synapse whose every input reaches runs of consecutive outputs: dense (one run) and convolution (one run a kernel row,
 * into a bordered target, so that no run needs a bounds test). Per column position and per row of the input a table says
 * where the runs start.
 */
export const enum Fanout {
  Activity = 0, // presynaptic activity record
  Columns = 4, // table of FanoutColumn, one a row position
  RowTable = 8, // table of FanoutRow, one a row
  Weight = 12, // view of the weights
  Gradient = 16, // view of their gradient (0 if none)
  Target = 20, // view: accumulators (forward) or deltas D (backward)
  TargetStride = 24, // bytes between runs in the target
  WeightStride = 28, // bytes between runs in the weights
  Delivered = 32, // view: G of the presynaptic neurons, f32 [rows × row length]
  Narrow = 36, // vectors of a dense synapse with at most four; 0 for all others
  Window = 40, // window record of a convolution, or 0
  Scratch = 44, // view of the rank's scratch for dense activity, or 0
  Size = 48,
}

/** A convolution seen from its outputs; see synapse/window.ts. */
export const enum Window {
  Columns = 0, // of the input
  Channels = 4, // stored channels of the input
  Kernel = 8,
  Stride = 12,
  Padding = 16,
  OutRows = 20,
  OutColumns = 24,
  CellBytes = 28, // of the stored channels of an output
  Origin = 32, // bytes from the start of a target row to the first real output
  LowRow = 36, // target rows in front of the first real one
  MostRuns = 40,
  Places = 44, // table of u32 [kernel]: place of each tap among the stored ones
  RealChannels = 48, // those of the input that have weights
  Size = 52,
}

/** Bytes of one channel's events in synapse/channels.ts, thirty-two of them. */
export const BIN_BYTES = 512;

/** Bytes at the start of the scratch for dense activity that synapse/matrix.ts packs into. */
export const MATRIX_SCRATCH = 142592;

/** Of lists that synapse/sweep.ts makes in its stead: steps and inputs at a time. */
export const SWEEP_STEPS = 16;
export const SWEEP_INPUTS = 1024;

export const enum FanoutColumn {
  Target = 0, // byte offset of the first run
  Weight = 4,
  Vectors = 8, // length of each run in vectors of four f32
  Reach = 12, // outputs that exist along x (for counting operations)
  Size = 16,
}

export const enum FanoutRow {
  Target = 0,
  Weight = 4,
  Runs = 8,
  Reach = 12, // existing output rows × real output channels
  Size = 16,
}

export const enum BackwardFlags {
  Deliver = 1, // compute G
  Accumulate = 2, // add to G instead of writing it
  Weight = 4, // compute the weight gradient
}

/** A synapse whose every input reaches at most one output with weight 1: pooling windows, identity shortcuts. */
export const enum Route {
  Activity = 0,
  Columns = 4, // table of u32 byte offsets, NOWHERE if the position reaches nothing
  RowTable = 8, // table of u32 byte offsets, NOWHERE likewise
  Target = 12, // view
  Delivered = 16, // view
  Scale = 20, // f32: G = scale · D
  Size = 24,
}

/** One value a channel, added at every position of a field. */
export const enum Bias {
  Field = 0, // view of the first real position: accumulators (forward) or deltas (backward)
  Stride = 4, // bytes between rows
  Rows = 8,
  RowLength = 12, // positions a row, a multiple of Channels
  Channels = 16, // stored channels, a multiple of 4
  Bias = 20, // view of the biases, or 0: the field starts at 0
  Gradient = 24, // view of their gradient
  Size = 28,
}

/** Pooling of currents: windows that do not overlap, from a (bordered) field to a contiguous one. */
export const enum FieldPool {
  From = 0, // view of the first real position
  Stride = 4, // bytes between rows
  Channels = 8, // stored channels
  Window = 12,
  Rows = 16, // of the result
  Columns = 20,
  Scale = 24, // f32: 1/window² for the average, 0 for the maximum
  To = 28, // view
  Index = 32, // view: i32, place of each maximum in its window; 0 if not kept
  Pooled = 36, // view: D of the result
  Delta = 40, // view of the first real position: D of the field
  DeltaStride = 44,
  Size = 48,
}

/** The first dense synapse under direct input, for a whole batch. */
export const enum Direct {
  Input = 0, // view: f32 [count]
  Count = 4,
  Entries = 8, // address: lists of the samples that have an input, EntriesBytes an input, a group of samples after the other
  EntriesBytes = 12, // 8 bytes a sample of a group
  Rows = 16, // address: lists of the inputs that some sample has, one a part, RowsBytes a group
  RowsBytes = 20, // 8 bytes an input and 16 a part
  Weight = 24, // view
  WeightStride = 28, // bytes between the rows of two inputs
  Outputs = 32, // padded
  Bias = 36, // view
  Current = 40, // view, a sample apart
  Sum = 44, // view, a sample as far apart as Current: D summed over steps
  Gradient = 48, // view
  BiasGradient = 52, // view
  Size = 56,
}

/** Samples whose currents stay in cache together. */
export const DIRECT_GROUP = 64;

/** Most parts that ranks cut the inputs into. */
export const DIRECT_PARTS = 16;

/** G of every neuron and step in front of a dense synapse. */
export const enum Deliver {
  Weight = 0, // view
  WeightStride = 4,
  Neurons = 8, // padded, a multiple of 4
  Outputs = 12, // real ones
  Delta = 16, // view, a step apart: D
  Delivered = 20, // view, a step apart: G
  Steps = 24,
  Size = 28,
}

/** In a table of offsets: this position reaches nothing. All bits are set. */
export const NOWHERE = -1;

/** One event on its way through a synapse; the list is the rank's scratch. */
export const enum Event {
  Weight = 0, // address of the first weight run
  Target = 4, // address of the first target run
  Extent = 8, // vectors a run | runs << 24
  Index = 12, // presynaptic index, row × row length + position
  Value = 16, // f32
  Size = 20,
}

/** Events handled in one go; longer lists are walked in chunks, in order. */
export const EVENT_CHUNK = 256;

/** Bytes of a rank's event scratch: cursor, then the list. */
export const EVENT_SCRATCH = 16 + 256 * 20;

/** `lee` spiking layer, membrane accumulated in place in the synapse's bordered target. */
export const enum Lee {
  Rows = 0,
  RowLength = 4,
  RowWords = 8,
  Membrane = 12, // view of the first real position; D uses the same geometry
  Stride = 16, // bytes between rows
  Bits = 20, // view
  Spikes = 24, // view of a u32: spikes of the sample
  Threshold = 28, // f32
  Leak = 32, // f32
  LogLeak = 36, // f32
  Amplitude = 40, // view of the dropout mask, or 0
  Filtered = 44, // view: F, later the factor f·m/θ; 0 when not training
  Total = 48, // view: N
  Decay = 52, // view of leak^(T-t), one f32 a step
  Delivered = 56, // view: G
  Delta = 60, // view of the first real position of D
  Scale = 64, // pooling: f32 1/size²
  Route = 68, // route record of the pool that is the layer's only listener: G is read through it; 0 if G is delivered
  Trace = 72, // pooling: view of what keeps u before the reset, or 0
  Size = 76,
}

/** Output layer of `lee`: never spikes; answer y = v / (θ T). */
export const enum Output {
  Membrane = 0, // view
  Length = 4, // padded outputs
  Classes = 8,
  Leak = 12, // f32
  Scale = 16, // f32 1/(θ T)
  Outputs = 20, // view: y, f32 [classes]
  Losses = 24, // view: one f32 a sample
  Labels = 28, // view: one i32 a sample
  Delta = 32, // view: D
  Given = 36, // view: dL/dy, f32 [classes], for GivenGradient
  LossScale = 40, // f32
  Mean = 44, // 1: the gradient is divided by the samples of the batch
  Size = 48,
}

/** Max pooling of spikes: a window spikes if any of its neurons does; G goes to the first of them in row-major order. */
export const enum MaxPool {
  Window = 0, // side
  Channels = 4, // stored channels
  Rows = 8, // of the pooled layer
  Columns = 12, // pixels of a pooled row
  RowWords = 16, // of the pooled bits
  Bits = 20, // view: pooled bits
  SourceRowWords = 24,
  SourceBits = 28, // view
  Delivered = 32, // view: G of the pooled layer, f32 [rows × columns × channels]
  SourceRowLength = 36,
  SourceDelivered = 40, // view
  Size = 44,
}

/** Batch normalisation of one step's currents, channels last. */
export const enum Norm {
  Field = 0, // view of the first real position of the currents
  Stride = 4, // bytes between rows
  Rows = 8,
  Width = 12, // pixels a row
  Channels = 16, // stored channels
  Weight = 20, // view of γ
  Bias = 24, // view of β
  RunningMean = 28, // view; read by NormFixed, updated by NormFinish
  RunningVariance = 32,
  Updates = 36, // updates of the running statistics a call
  Affine = 40, // view: f32 [4][channels]: mean, γ/σ, β, 1/σ
  Partial = 44, // view: f32 [2][channels] of a sample
  PartialStride = 48, // bytes between the samples' partial sums
  Delta = 52, // view of the first real position of the deltas; same geometry as the currents
  WeightGradient = 56, // view
  BiasGradient = 60, // view
  Means = 64, // view: f32 [2][channels]: mean of dy, mean of dy·x̂
  Momentum = 68, // f32
  Epsilon = 72, // f32
  Size = 76,
}

/** Spiking layer of `bpsta`. */
export const enum Bpsta {
  Rows = 0,
  RowLength = 4,
  RowWords = 8,
  Channels = 12, // stored channels
  Field = 16, // view of the first real position of the currents
  Stride = 20, // bytes between rows of currents and deltas
  Affine = 24, // view as in Norm, or 0
  Relu = 28, // 1: currents below 0 count 0
  Membrane = 32, // view: v, f32 [rows × row length]
  Bits = 36, // view
  Spikes = 40, // view of a u32
  Threshold = 44, // f32
  Decay = 48, // f32
  Kappa = 52, // f32
  Positive = 56, // view of bits: where the current is above 0; 0 if not training or without relu
  Potentials = 60, // view: u, f32 [rows × row length], needed at spikes; 0 if not training
  Constant = 64, // 1: the current is the same at every step, Potentials too
  Recorded = 68, // view: u everywhere, f32 [rows × row length], or 0
  Carry = 72, // view: D, f32 [rows × row length]
  Delivered = 76, // view: G
  Delta = 80, // view of the first real position of dL/dI
  Sum = 84, // 1: dL/dI is added to what stands there
  Size = 88,
}

/** Groups of neighbouring output neurons vote for a class. */
export const enum Vote {
  Bits = 0, // view of the last layer's bits
  Classes = 4,
  Voters = 8, // neurons a class
  Counts = 12, // view: f32 [classes]
  Delta = 16, // view: dL/dcount, f32 [classes]
  Delivered = 20, // view: G, f32 [classes × voters]
  Size = 24,
}

/** `surrogate` neurons: u of step t lies one step of its view behind u of step t - 1. */
export const enum Surrogate {
  Rows = 0,
  RowLength = 4,
  RowWords = 8,
  Current = 12, // view of the first real position of I_t
  CurrentStride = 16, // bytes between rows
  Previous = 20, // view of u_{t-1}, f32 [rows × row length]; in place if its step is 0 bytes
  Synaptic = 24, // view of c, or 0
  Bits = 28, // view
  Spikes = 32, // view of a u32
  Threshold = 36, // f32
  Decay = 40, // f32 β
  SynapticDecay = 44, // f32 α
  ResetToZero = 48, // 1, or 0 to subtract θ
  Derivative = 52, // Derivative
  Slope = 56, // f32: k, or π k / 2 for atan
  Height = 60, // f32: 1, or k / 2 for atan
  Delivered = 64, // view: G_t, or dL/du_t
  Carried = 68, // view: U_{t+1}, becomes U_t
  Trace = 72, // view: D_{t+1}, becomes D_t; 0 without α
  Delta = 76, // view of the first real position of D_t, or 0
  DeltaStride = 80,
  Sum = 84, // view: Σ_t D_t, or 0
  Amplitude = 88, // view of the dropout mask, or 0
  LearnedDecay = 92, // view of β where it is learned, or 0
  LearnedThreshold = 96, // view of θ likewise
  DecayGradient = 100, // view
  ThresholdGradient = 104, // view
  Size = 108,
}

export const enum Derivative {
  One = 0, // the loss reads membranes
  FastSigmoid = 1,
  Atan = 2,
  Boxcar = 3,
}

/** A loss over all steps of the last layer. */
export const enum StepLoss {
  Kind = 0, // StepLossKind
  OnRate = 4, // 1: reads spikes, 0: membranes
  Steps = 8,
  Classes = 12,
  Membrane = 16, // view of u_1, a step apart
  Bits = 20, // view, a step apart
  Sum = 24, // view: Σ_t of what it reads, 0 at the start of a sample
  Outputs = 28, // view: f32 [classes]
  Losses = 32, // view: one f32 a sample
  Labels = 36, // view: one i32 a sample
  Given = 40, // view: dL/dy
  Delta = 44, // view, a step apart: dL/du_t or dL/ds_t; 0 if not training
  LossScale = 48, // f32
  Mean = 52, // 1: the loss is a mean over the batch
  Size = 56,
}

export const enum StepLossKind {
  Given = 0,
  CrossEntropy = 1,
  SquaredError = 2,
}

/** Presynaptic traces of `decolle`: f32 [rows × row length] like the activity. */
export const enum Trace {
  Activity = 0, // activity record
  P = 4, // view of the first real position
  Stride = 8, // bytes between rows of P
  Q = 12, // view
  Alpha = 16, // f32
  AlphaRest = 20, // f32 1 - α
  Beta = 24, // f32
  BetaRest = 28, // f32 1 - β
  Size = 32,
}

/** Dense product of real values that a batch of samples holds, most of them 0 or none: U_s = b + W · P_s for every sample s. */
export const enum Product {
  Inputs = 0, // positions of P
  Outputs = 4, // padded outputs
  Values = 8, // view: P, f32 [inputs]
  Weight = 12, // view: rows of `stride` bytes, one an input
  Stride = 16,
  Gradient = 20, // view, likewise
  Bias = 24, // view
  Target = 28, // view: U, f32 [outputs]
  Delta = 32, // view: D, f32 [outputs]
  Lists = 36, // address: per sample [u32 offset, f32 value] of what is not 0
  Starts = 40, // address: per sample where PRODUCT_ROWS inputs each begin in its list, and its end
  Scratch = 44, // view of the rank's: PRODUCT_SCRATCH, then the same per input of PRODUCT_ROWS
  TurnedStride = 48, // bytes of an input's list
  Panel = 52, // bytes between the weights of thirty-two outputs and those of the next
  Size = 56,
}

/** Inputs whose gradients are made at a time: half of a nearest cache with weights and state. */
export const PRODUCT_ROWS = 32;

/** Bytes of the rows of their gradient, and of the ends of their lists. */
export const PRODUCT_SCRATCH = 32 * 128 + 32 * 4;

/**
 * Convolution of real values that a batch of samples holds. Each output position sees a patch of its bordered input: `Kernel`
 * rows, `RowBytes` apart, of `Run` values next to each other (column, channel).
 */
export const enum Patch {
  Kernel = 0, // rows of a patch
  Run = 4, // f32 of a row of a patch: kernel × input channels
  RunStride = 8, // the same in the sums, padded to a multiple of 4
  RowBytes = 12, // bytes between rows of the input
  InputChannels = 16, // stored; weights have RealInputs of them
  Positions = 20, // output positions
  Offsets = 24, // table: u32 byte offset of each one's patch in the input
  Outputs = 28, // stored output channels, of which
  RealOutputs = 32, // are real
  Input = 36, // view: P with its border
  Weight = 40, // view
  Taps = 44, // table: u32 byte offset in the weights of each tap [ky][kx] of input channel 0
  TapStride = 48, // bytes between input channels in the weights
  Packed = 52, // address: the weights as [panel of eight outputs][ky][kx][input channel][8]
  Bias = 56, // view
  Target = 60, // view: U, f32 [positions][outputs]
  Places = 64, // positions of δ
  Delta = 68, // view: δ, f32 [places][outputs]
  Argmax = 72, // view: u32 byte offset in the input of each δ's patch, [places][outputs]; 0: places are positions
  List = 76, // view: scratch of a rank, 8 bytes a place and up to three more
  Sums = 80, // view: f32 [real outputs][kernel][run stride]
  Gradient = 84, // view, ordered as the weights
  RealInputs = 88,
  Size = 92,
}

/** Neurons of `decolle` in the field of a synapse; there U ends up. */
export const enum Decolle {
  Rows = 0,
  RowLength = 4,
  RowWords = 8,
  Field = 12, // view of the first real position: W·P + b, or W·x where the filter follows the synapse
  Stride = 16, // bytes between rows
  Refractory = 20, // view: R
  Own = 24, // view: bits of S, the step before's when the step begins
  Bits = 28, // view: a second copy of the bits of S, or 0 if a pool follows
  P = 32, // view: filtered currents, or 0 where traces come before the synapse
  Q = 36,
  Bias = 40, // view: biases, added to filtered currents
  Channels = 44, // stored channels
  Alpha = 48, // f32, and so on
  AlphaRest = 52,
  Beta = 56,
  BetaRest = 60,
  Rho = 64,
  Kick = 68, // f32 (1 - ρ) · refractory weight
  Spikes = 72, // view of a u32
  // max pooling over windows
  Window = 76, // side
  PooledRows = 80,
  PooledRowLength = 84,
  PooledRowWords = 88,
  Pooled = 92, // view: U', f32 [pooled rows × pooled row length]
  Argmax = 96, // view: u32 byte offset of the patch in the synapse's input that each maximum saw, or 0
  PatchRow = 100, // bytes between the patches of two rows of neurons
  PatchColumn = 104, // bytes between those of two columns
  PooledBits = 108, // view
  Size = 112,
}

/** All steps of a dense layer of `decolle` for the samples of a group, whose input is plain spikes. */
export const enum DecolleDense {
  Neuron = 0, // decolle record with filtered currents
  Activity = 4, // activity record of the input: bits without amplitude
  Weight = 8, // view
  Stride = 12, // bytes between the weights of two inputs
  Steps = 16,
  List = 20, // view of scratch, a lane apart: row offsets of the spikes of as many steps as it holds
  ListBytes = 24, // at least four an input
  Starts = 28, // view of scratch, a lane apart: [steps done, steps in the list, DENSE_STEPS + 1 addresses in it]
  Outputs = 32, // real outputs
  Operations = 36, // view of the u64 that counts operations, or 0
  Currents = 40, // view of scratch: f32 [DENSE_STEPS][32]
  Panel = 44, // as in Product
  Size = 48,
}

/** Most steps that a dense layer takes between two looks at its input. */
export const DENSE_STEPS = 128;

/** A layer's own loss through its readout. */
export const enum Local {
  Classes = 0,
  Readout = 4, // view: r, f32 [padded classes]
  Answer = 8, // view: f32 [classes], or 0
  Common = 12, // 1: count the winner of each step; 0: sum the sigmoids
  Losses = 16, // view of a sample's f32, or 0
  Labels = 20, // view
  StepLoss = 24, // view: f32, loss of the step, or 0
  Error = 28, // view: dL/dr, f32 [padded classes], or 0
  // δ
  Weight = 32, // view: readout, f32 [classes][positions]
  Rows = 36, // of U'
  RowLength = 40,
  Pooled = 44, // view of U'
  PooledStride = 48, // bytes between rows
  Mask = 52, // view of the dropout mask, or 0
  Delta = 56, // view: δ, f32 [rows × row length]
  // regulariser
  Channels = 60, // stored
  RealChannels = 64,
  Regularizer = 68, // f32
  Gate = 72, // address: [f32 value, u32 whether the second term pushes]
  Means = 76, // view: mean loss of a step over the batch, or 0
  Size = 80,
}

export const enum Poisson {
  Count = 0, // inputs
  Rows = 4,
  RowLength = 8,
  RowWords = 12,
  Input = 16, // view: f32 [count]
  Groups = 20, // view: [end of the list, padded to 16 bytes], then groups
  Bits = 24, // view
  Amplitude = 28, // view of the signs, or 0
  Scratch = 32, // view: sixteen random words
  Gain = 36, // f32
  Key0 = 40,
  Key1 = 44,
  Spikes = 48, // view of a u32
  Size = 52,
}

/** Four counters of random numbers and their sixteen inputs, word by word: that of lane l and word w at 4 w + l. */
export const enum PoissonGroup {
  Counters = 0, // u32 [4]
  Limits = 16, // i32 [16]: spike where the 31-bit random number is <= limit
  Places = 80, // u32 [16]: bit in the step's bits
  Size = 144,
}

export const enum Latency {
  Rows = 0,
  RowLength = 4,
  RowWords = 8,
  Input = 12, // view: f32 [rows × row length]
  Bits = 16, // view, one step apart
  Steps = 20, // steps of the program
  Last = 24, // T - 1
  Threshold = 28, // f32
  Noise = 32, // f32, in steps
  Key0 = 36,
  Key1 = 40,
  Spikes = 44, // view of a u32
  Size = 48,
}

export const enum Dropout {
  Count = 0,
  Mask = 4, // view: f32 [count]
  Given = 8, // view of a mask to copy instead, or 0
  Probability = 12, // f32 p
  Keep = 16, // f32 1/(1-p)
  Key0 = 20,
  Key1 = 24,
  Size = 28,
}

/** Input times of single-spike networks. */
export const enum TimesEncoder {
  Count = 0, // inputs
  Input = 4, // view: f32 [count]
  Times = 8, // view: f32 [count], +inf for silence
  Intensity = 12, // inputs are 1: intensities x, time 1 - x; 0: times
  SilentBelow = 16, // f32: intensities below it are silent
  Noise = 20, // f32: standard deviation of what is added to times; 0 if nothing
  Key0 = 24,
  Key1 = 28,
  Spikes = 32, // view of a u32
  Size = 36,
}

/** One spike in the order of time; a list of them has a header of the same size whose first word is their bytes. */
export const enum Timeline {
  Weight = 0, // byte offset of the weights from here to a panel of neurons
  Source = 4, // presynaptic position
  Time = 8, // f32
  Wait = 12, // f32: to the next spike, +inf after the last
  Size = 16,
}

export const enum TimelineSort {
  Count = 0, // positions
  Times = 4, // view: f32 [count]
  List = 8, // view: timeline
  Scratch = 12, // view: 4 KiB + 16 bytes a position
  Rows = 16, // table: Timeline.Weight of each position, 0 if all are 0
  Size = 20,
}

/** How a convolution deals a map's timeline out to its output positions. */
export const enum ConvTimeline {
  Channels = 0, // stored channels of the input
  RowLength = 4,
  Rows = 8, // table: for each row [count, (list offset, weight offset) …], EntryBytes a row
  Columns = 12, // likewise for each column
  EntryBytes = 16,
  ListBytes = 20, // bytes between lists
  Positions = 24, // lists
  Lists = 28, // view: the lists
  Size = 32,
}

/** A layer of single-spike neurons on a dense or convolutional synapse. Weights [panel][input row][16]. */
export const enum Stdbp {
  Neurons = 0, // neurons (dense) or channels (convolution)
  PanelBytes = 4, // bytes of a panel's weights
  Conv = 8, // convolution's timeline record, 0 if dense
  List = 12, // view: timeline of the inputs
  Weight = 16, // view
  Gradient = 20, // view
  Threshold = 24, // f32
  Bound = 28, // f32: most that 1/A may be
  Limit = 32, // f32: a neuron whose |dL/dt / A| exceeds it passes nothing back
  Times = 36, // view: f32 [positions × neurons padded to 16]
  Inverses = 40, // view: 1/A, 0 when not training
  Counts = 44, // view: u32, spikes heard
  Delivered = 48, // view: dL/dt of this layer
  Sources = 52, // presynaptic positions
  Lanes = 56, // view: f32 [sources × 4], scratch of dL/dt of the inputs; 0 if not needed
  SourceDelivered = 60, // view: dL/dt of the inputs
  Spikes = 64, // view of a u32
  Operations = 68, // view of a u64, 0 if not counted
  Scratch = 72, // view: 128 bytes
  Size = 76,
}

/** Earliest time of each window. */
export const enum Earliest {
  Rows = 0, // of the output
  Columns = 4,
  Channels = 8, // real
  Stored = 12, // stored channels of the output
  InputRowLength = 16,
  InputStored = 20, // stored channels of the input
  Window = 24,
  Times = 28, // view of the input's times
  Out = 32, // view of the output's times
  Chosen = 36, // view: u32, input position of each output; 0 when not training
  Delivered = 40, // view: dL/dt of the output
  SourceDelivered = 44, // view: dL/dt of the input, 0 if not needed
  SourceBytes = 48,
  Spikes = 52, // view of a u32
  Size = 56,
}

/** Cross-entropy of softmax(-t/τ) over output times. */
export const enum TimesLoss {
  Classes = 0,
  Times = 4, // view: f32 [classes]
  Outputs = 8, // view: the times, for the caller
  Losses = 12, // view
  Labels = 16, // view
  Delivered = 20, // view: dL/dt, 0 when not training
  Given = 24, // view: dL/dt from the caller
  Temperature = 28, // f32 τ
  Delay = 32, // f32: a silent output stands this long after the latest one; 0 if it stays infinite
  Nudge = 36, // f32: 1/A that a silent output of the label is taken to have; 0 if it has none
  Inverses = 40, // view: of the output layer
  Counts = 44,
  List = 48, // view: timeline that the output layer hears
  Mean = 52, // 1: the loss is the mean over the batch
  Size = 56,
}

/** K · mean_j max(0, θ - Σ_i w_ij) of one layer. */
export const enum WeightSum {
  Neurons = 0,
  PanelBytes = 4,
  Weight = 8, // view
  Gradient = 12, // view
  Threshold = 16, // f32
  Scale = 20, // f32 K / neurons
  Losses = 24, // view: added to every sample's, or to the first's if the loss is a sum
  Mean = 28, // 1: the loss is the mean over the batch
  Size = 32,
}

/** Neurons that were silent for a whole batch get a little on all weights, twice as much each batch that they stay so. */
export const enum Nudge {
  Neurons = 0,
  PanelBytes = 4,
  Weight = 8, // view
  State = 12, // view: f32 [neurons], the last amount
  Times = 16, // view
  Length = 20, // times a sample
  Amount = 24, // f32 at first
  Most = 28, // f32
  Losses = 32, // view: nothing happens if one is not finite
  Size = 36,
}

/** One tensor's part in an optimizer's step. */
export const enum Update {
  Count = 0, // f32 elements, a multiple of 4
  Weight = 4, // address
  Gradient = 8, // address
  First = 12, // address: velocity b, or mean m; 0 for sgd without momentum
  Second = 16, // address: mean square v, or largest n
  Hyper = 20, // address of the hyper record
  Scale = 24, // f32: the rate of this tensor over the optimizer's
  Size = 28,
}

/** What all tensors of an optimizer share, 8-byte aligned. The wrapper writes it, `Advance` takes it to the next step. */
export const enum Hyper {
  Rate = 0, // f64
  Decay = 8, // f64: weight decay
  First = 16, // f64: momentum, or β1
  Second = 24, // f64: β2
  Epsilon = 32, // f64
  FirstPower = 40, // f64: β1^k, 1 before the first step
  SecondPower = 48, // f64: β2^k
  Taken = 56, // u32: steps k
  Decoupled = 60, // u32: weight decay acts on the weight (AdamW), not through the gradient
  Size = 64,
}

/** Primitives of a surrogate in place of spikes, for checking gradients. */
export const enum Smooth {
  Rows = 0,
  RowLength = 4,
  Channels = 8, // stored channels, of which
  RealChannels = 12, // are real; the others give 0
  Membrane = 16, // view of the first real position of u
  Stride = 20, // bytes between its rows
  Threshold = 24, // f32
  Derivative = 28, // Derivative
  Slope = 32, // f32: k, or π k / 2 for atan
  Mask = 36, // view of the dropout mask, f32 [rows × row length], or 0
  Values = 40, // view: f32 [rows × row length]
  Learned = 44, // view of a threshold that is learned, or 0
  Size = 48,
}

/** Checks and clips the gradients of an optimizer's step; 8-byte aligned. */
export const enum Clip {
  Tensors = 0, // address of a table [address, f32 elements: a multiple of 4], u32 each
  Count = 4, // tensors
  Value = 8, // f32: largest magnitude, 0 if not clipped
  Norm = 12, // f32: largest Euclidean norm of all, 0 if not clipped
  Squares = 16, // f64, written: sum of squares before clipping
  Size = 24,
}

/** What is looked at before a step that follows its batch at once; 8-byte aligned. */
export const enum Survey {
  Tensors = 0, // address of a table as in Clip
  Count = 4,
  Losses = 8, // address: one f32 a sample
  Limit = 16, // f64: the sum of squares of a rank's share may be so large
  Size = 24,
}

/** Most blocks of samples a batch is cut into; each has a gradient buffer of its own. */
export const MAX_BLOCKS = 8;

/** Streams of random numbers, part of the key. */
export const enum Stream {
  Init = 1,
  Shuffle = 2,
  Encoder = 3,
  Dropout = 16, // + index of the layer
}
