// Layers of `stdbp` neurons (neuron/stdbp.ts) over all samples of a block.
//
// Dense: a panel of sixteen neurons hears sample after sample, so its weights and their gradient stay in cache.
// Convolution: sample after sample, the map's timeline dealt out to the output positions, each heard by all channels.
// Gradients add samples ascending; within a sample output positions, then panels, then spikes in the order of time.

import { ConvTimeline, Frame, Stdbp, Timeline, View } from "../abi";
import { dealTimes } from "../synapse/timeline";
import { at, endSample, firstSample } from "../view";
import { learn, listen, PANEL } from "./stdbp";

/** Bytes between samples in the view of field `field`. */
@inline
function stride(layer: usize, field: usize): usize {
  const address = load<u32>(layer + field) as usize;
  return address ? load<u32>(address, View.PerSample) : 0;
}

/** View of field `field` of a layer for the frame's sample, 0 if it has none. */
@inline
function view(layer: usize, field: usize, frame: usize): usize {
  const address = load<u32>(layer + field) as usize;
  return address ? at(address, frame) : 0;
}

export function stdbpForward(layer: usize, frame: usize): void {
  const neurons = load<u32>(layer, Stdbp.Neurons);
  const panelBytes = load<u32>(layer, Stdbp.PanelBytes) as usize;
  const conv = load<u32>(layer, Stdbp.Conv) as usize;
  const threshold = load<f32>(layer, Stdbp.Threshold);
  const bound = load<f32>(layer, Stdbp.Bound);
  const weights = at(load<u32>(layer, Stdbp.Weight), frame);
  const first = firstSample(frame);
  const end = endSample(frame);
  if (!conv) {
    store<u32>(frame, first, Frame.Sample);
    const firstList = view(layer, Stdbp.List, frame);
    const firstSpikes = view(layer, Stdbp.Spikes, frame);
    const listStride = stride(layer, Stdbp.List);
    const spikesStride = stride(layer, Stdbp.Spikes);
    const timesStride = stride(layer, Stdbp.Times);
    for (let j: u32 = 0; j < neurons; j += PANEL) {
      const panel = weights + ((j / PANEL) as usize) * panelBytes;
      let list = firstList;
      let spikes = firstSpikes;
      let times = view(layer, Stdbp.Times, frame) + (j << 2);
      let inverses = view(layer, Stdbp.Inverses, frame);
      let counts = view(layer, Stdbp.Counts, frame) + (j << 2);
      if (inverses) inverses += j << 2;
      for (let sample = first; sample < end; ++sample) {
        const fired = listen(list, panel, min(neurons - j, PANEL), threshold, bound, times, inverses, counts);
        store<u32>(spikes, load<u32>(spikes) + fired);
        list += listStride;
        spikes += spikesStride;
        times += timesStride;
        if (inverses) inverses += timesStride;
        counts += timesStride;
      }
    }
    if (!load<u32>(layer, Stdbp.Operations)) return;
    for (let sample = first; sample < end; ++sample) {
      store<u32>(frame, sample, Frame.Sample);
      countOperations(layer, view(layer, Stdbp.List, frame), neurons, frame);
    }
    return;
  }
  const stored = (neurons + PANEL - 1) & ~(PANEL - 1);
  const positions = load<u32>(conv, ConvTimeline.Positions);
  const listBytes = load<u32>(conv, ConvTimeline.ListBytes) as usize;
  for (let sample = first; sample < end; ++sample) {
    store<u32>(frame, sample, Frame.Sample);
    const lists = at(load<u32>(conv, ConvTimeline.Lists), frame);
    dealTimes(conv, view(layer, Stdbp.List, frame), lists);
    let times = view(layer, Stdbp.Times, frame);
    let inverses = view(layer, Stdbp.Inverses, frame);
    let counts = view(layer, Stdbp.Counts, frame);
    let fired: u32 = 0;
    let list = lists;
    for (let position: u32 = 0; position < positions; ++position, list += listBytes) {
      countOperations(layer, list, neurons, frame);
      let panel = weights;
      for (let j: u32 = 0; j < stored; j += PANEL, panel += panelBytes) {
        fired += listen(list, panel, min(neurons - j, PANEL), threshold, bound, times, inverses, counts);
        times += 64;
        if (inverses) inverses += 64;
        counts += 64;
      }
    }
    const counter = view(layer, Stdbp.Spikes, frame);
    store<u32>(counter, load<u32>(counter) + fired);
  }
}

export function stdbpBackward(layer: usize, frame: usize): void {
  const neurons = load<u32>(layer, Stdbp.Neurons);
  const panelBytes = load<u32>(layer, Stdbp.PanelBytes) as usize;
  const conv = load<u32>(layer, Stdbp.Conv) as usize;
  const limit = load<f32>(layer, Stdbp.Limit);
  const weights = at(load<u32>(layer, Stdbp.Weight), frame);
  const gradient = at(load<u32>(layer, Stdbp.Gradient), frame);
  const first = firstSample(frame);
  const end = endSample(frame);
  if (!conv) {
    for (let sample = first; sample < end; ++sample) {
      store<u32>(frame, sample, Frame.Sample);
      clearLanes(layer, frame);
    }
    store<u32>(frame, first, Frame.Sample);
    const firstList = view(layer, Stdbp.List, frame);
    const firstLanes = view(layer, Stdbp.Lanes, frame);
    const listStride = stride(layer, Stdbp.List);
    const lanesStride = stride(layer, Stdbp.Lanes);
    const timesStride = stride(layer, Stdbp.Times);
    for (let j: u32 = 0; j < neurons; j += PANEL) {
      const offset = ((j / PANEL) as usize) * panelBytes;
      let list = firstList;
      let lanes = firstLanes;
      let delivered = view(layer, Stdbp.Delivered, frame) + (j << 2);
      let times = view(layer, Stdbp.Times, frame) + (j << 2);
      let inverses = view(layer, Stdbp.Inverses, frame) + (j << 2);
      let counts = view(layer, Stdbp.Counts, frame) + (j << 2);
      for (let sample = first; sample < end; ++sample) {
        learn(list, weights + offset, gradient + offset, limit, delivered, times, inverses, counts, lanes);
        list += listStride;
        lanes += lanesStride;
        delivered += timesStride;
        times += timesStride;
        inverses += timesStride;
        counts += timesStride;
      }
    }
    for (let sample = first; sample < end; ++sample) {
      store<u32>(frame, sample, Frame.Sample);
      deliver(layer, frame);
    }
    return;
  }
  const stored = (neurons + PANEL - 1) & ~(PANEL - 1);
  const positions = load<u32>(conv, ConvTimeline.Positions);
  const listBytes = load<u32>(conv, ConvTimeline.ListBytes) as usize;
  for (let sample = first; sample < end; ++sample) {
    store<u32>(frame, sample, Frame.Sample);
    clearLanes(layer, frame);
    const lists = at(load<u32>(conv, ConvTimeline.Lists), frame);
    dealTimes(conv, view(layer, Stdbp.List, frame), lists);
    const lanes = view(layer, Stdbp.Lanes, frame);
    let delivered = view(layer, Stdbp.Delivered, frame);
    let times = view(layer, Stdbp.Times, frame);
    let inverses = view(layer, Stdbp.Inverses, frame);
    let counts = view(layer, Stdbp.Counts, frame);
    let list = lists;
    for (let position: u32 = 0; position < positions; ++position, list += listBytes) {
      let offset: usize = 0;
      for (let j: u32 = 0; j < stored; j += PANEL, offset += panelBytes) {
        learn(list, weights + offset, gradient + offset, limit, delivered, times, inverses, counts, lanes);
        delivered += 64;
        times += 64;
        inverses += 64;
        counts += 64;
      }
    }
    deliver(layer, frame);
  }
}

/** dL/dt of the inputs that spiked: four lanes each, summed in a fixed tree; 0 for the silent. */
function deliver(layer: usize, frame: usize): void {
  const lanes = view(layer, Stdbp.Lanes, frame);
  if (!lanes) return;
  const to = view(layer, Stdbp.SourceDelivered, frame);
  memory.fill(to, 0, load<u32>(layer, Stdbp.Sources) << 2);
  const list = view(layer, Stdbp.List, frame);
  const end = list + Timeline.Size + load<u32>(list);
  for (let spike = list + Timeline.Size; spike < end; spike += Timeline.Size) {
    const source = load<u32>(spike, Timeline.Source);
    const sum = lanes + (source << 4);
    const g = load<f32>(sum) + load<f32>(sum, 4) + (load<f32>(sum, 8) + load<f32>(sum, 12));
    store<f32>(to + (source << 2), g);
  }
}

function clearLanes(layer: usize, frame: usize): void {
  const lanes = view(layer, Stdbp.Lanes, frame);
  if (!lanes) return;
  const list = view(layer, Stdbp.List, frame);
  const end = list + Timeline.Size + load<u32>(list);
  for (let spike = list + Timeline.Size; spike < end; spike += Timeline.Size) {
    const sum = lanes + (load<u32>(spike, Timeline.Source) << 4);
    store<u64>(sum, 0);
    store<u64>(sum, 0, 8);
  }
}

/** Synaptic operations: spikes × neurons that they reach. */
@inline
function countOperations(layer: usize, list: usize, neurons: u32, frame: usize): void {
  const counter = view(layer, Stdbp.Operations, frame);
  if (counter) store<u64>(counter, load<u64>(counter) + ((load<u32>(list) / Timeline.Size) as u64) * neurons);
}
