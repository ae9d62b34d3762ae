import { Control, Frame, View } from "./abi";

/** Address of `view` for the step, sample, block and rank of `frame`. */
export function at(view: usize, frame: usize): usize {
  return (
    (load<u32>(view, View.Base) as usize) +
    load<u32>(frame, Frame.Rank) * load<u32>(view, View.PerRank) +
    load<u32>(frame, Frame.Block) * load<u32>(view, View.PerBlock) +
    load<u32>(frame, Frame.Sample) * load<u32>(view, View.PerSample) +
    load<u32>(frame, Frame.Step) * load<u32>(view, View.PerStep)
  );
}

/** Where block `block` of the batch begins; the product may pass 32 bits. */
@inline
function boundary(frame: usize, block: u32): u32 {
  const control = load<u32>(frame, Frame.Control) as usize;
  return (((load<u32>(control, Control.Samples) as u64) * block) / load<u32>(control, Control.Blocks)) as u32;
}

/** First sample of the frame's block. */
export function firstSample(frame: usize): u32 {
  return boundary(frame, load<u32>(frame, Frame.Block));
}

/** One behind its last. */
export function endSample(frame: usize): u32 {
  return boundary(frame, load<u32>(frame, Frame.Block) + 1);
}

/** Whether the frame's rank does what one alone has to. */
@inline
export function isFirst(frame: usize): bool {
  return !ASC_FEATURE_THREADS || load<u32>(frame, Frame.Rank) == 0;
}

/** First of `count` things that are the frame's rank's; without threads all are. */
export function firstOfShare(count: usize, frame: usize): usize {
  return ASC_FEATURE_THREADS ? (count * load<u32>(frame, Frame.Rank)) / load<u32>(frame, Frame.Ranks) : 0;
}

/** One behind its last. */
export function endOfShare(count: usize, frame: usize): usize {
  return ASC_FEATURE_THREADS ? (count * (load<u32>(frame, Frame.Rank) + 1)) / load<u32>(frame, Frame.Ranks) : count;
}

/** Goes to a sample of the group; its scratch is found by its place there. */
export function enterLane(lane: u32, frame: usize): void {
  store<u32>(frame, load<u32>(frame, Frame.GroupFirst) + lane, Frame.Sample);
  store<u32>(frame, lane, Frame.Block);
}
