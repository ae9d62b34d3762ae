// Layers of `stdbp` neurons (neuron/stdbp.ts) over all samples of a block.
//
// Dense: a panel of sixteen neurons hears sample after sample, so its weights and their gradient stay in cache.
// Convolution: sample after sample, the map's timeline dealt out to the output positions, each heard by all channels.
// Gradients add samples ascending; within a sample output positions, then panels, then spikes in the order of time.
//
// Training has one block, which ranks share out: forward, and dL/dt of the inputs, by samples; weight gradients by panels.

import { Control, ConvTimeline, Frame, Stdbp, Timeline, View } from "../abi";
import { dealTimes } from "../synapse/timeline";
import { at, endOfShare, endSample, firstOfShare, firstSample } from "../view";
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

@inline
function samplesOf(frame: usize): u32 {
  return load<u32>(load<u32>(frame, Frame.Control), Control.Samples);
}

export function stdbpForward(layer: usize, frame: usize): void {
  const neurons = load<u32>(layer, Stdbp.Neurons);
  const panelBytes = load<u32>(layer, Stdbp.PanelBytes) as usize;
  const conv = load<u32>(layer, Stdbp.Conv) as usize;
  const threshold = load<f32>(layer, Stdbp.Threshold);
  const bound = load<f32>(layer, Stdbp.Bound);
  const weights = at(load<u32>(layer, Stdbp.Weight), frame);
  const scratch = at(load<u32>(layer, Stdbp.Scratch), frame);
  const shared = load<u32>(layer, Stdbp.Inverses) != 0;
  const first = shared ? (firstOfShare(samplesOf(frame), frame) as u32) : firstSample(frame);
  const end = shared ? (endOfShare(samplesOf(frame), frame) as u32) : endSample(frame);
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
        const fired = listen(list, panel, min(neurons - j, PANEL), threshold, bound, times, inverses, counts, scratch);
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
        fired += listen(list, panel, min(neurons - j, PANEL), threshold, bound, times, inverses, counts, scratch);
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
  const panels = (load<u32>(layer, Stdbp.Neurons) + PANEL - 1) / PANEL;
  const samples = samplesOf(frame);
  if (!ASC_FEATURE_THREADS || load<u32>(frame, Frame.Ranks) == 1) {
    return passBack(layer, 0, samples, 0, panels, true, true, frame);
  }
  const firstPanel = firstOfShare(panels, frame) as u32;
  const endPanel = endOfShare(panels, frame) as u32;
  if (firstPanel < endPanel) passBack(layer, 0, samples, firstPanel, endPanel, true, false, frame);
  if (!load<u32>(layer, Stdbp.Lanes)) return;
  const first = firstOfShare(samples, frame) as u32;
  passBack(layer, first, endOfShare(samples, frame) as u32, 0, panels, false, true, frame);
}

/** What panels `firstPanel … endPanel - 1` have from samples `first … end - 1`: weight gradients, dL/dt of the inputs, or both. */
function passBack(
  layer: usize,
  first: u32,
  end: u32,
  firstPanel: u32,
  endPanel: u32,
  learns: bool,
  delivers: bool,
  frame: usize,
): void {
  const panelBytes = load<u32>(layer, Stdbp.PanelBytes) as usize;
  const conv = load<u32>(layer, Stdbp.Conv) as usize;
  const limit = load<f32>(layer, Stdbp.Limit);
  const weights = at(load<u32>(layer, Stdbp.Weight), frame);
  const gradient = learns ? at(load<u32>(layer, Stdbp.Gradient), frame) : 0;
  const offset = (firstPanel as usize) * panelBytes;
  const skipped = (firstPanel as usize) << 6;
  delivers = delivers && load<u32>(layer, Stdbp.Lanes) != 0;
  if (!conv) {
    for (let sample = first; sample < end && delivers; ++sample) {
      store<u32>(frame, sample, Frame.Sample);
      clearLanes(layer, frame);
    }
    store<u32>(frame, first, Frame.Sample);
    const firstList = view(layer, Stdbp.List, frame);
    const firstLanes = delivers ? view(layer, Stdbp.Lanes, frame) : 0;
    const listStride = stride(layer, Stdbp.List);
    const lanesStride = delivers ? stride(layer, Stdbp.Lanes) : 0;
    const timesStride = stride(layer, Stdbp.Times);
    let panel = weights + offset;
    let to = gradient && gradient + offset;
    let place = skipped;
    for (let j = firstPanel; j < endPanel; ++j, panel += panelBytes, place += 64) {
      let list = firstList;
      let lanes = firstLanes;
      let delivered = view(layer, Stdbp.Delivered, frame) + place;
      let times = view(layer, Stdbp.Times, frame) + place;
      let inverses = view(layer, Stdbp.Inverses, frame) + place;
      let counts = view(layer, Stdbp.Counts, frame) + place;
      for (let sample = first; sample < end; ++sample) {
        learn(list, panel, to, limit, delivered, times, inverses, counts, lanes);
        list += listStride;
        lanes += lanesStride;
        delivered += timesStride;
        times += timesStride;
        inverses += timesStride;
        counts += timesStride;
      }
      if (to) to += panelBytes;
    }
    for (let sample = first; sample < end && delivers; ++sample) {
      store<u32>(frame, sample, Frame.Sample);
      deliver(layer, frame);
    }
    return;
  }
  const positions = load<u32>(conv, ConvTimeline.Positions);
  const listBytes = load<u32>(conv, ConvTimeline.ListBytes) as usize;
  const stored = (((load<u32>(layer, Stdbp.Neurons) + PANEL - 1) / PANEL) as usize) << 6;
  for (let sample = first; sample < end; ++sample) {
    store<u32>(frame, sample, Frame.Sample);
    if (delivers) clearLanes(layer, frame);
    const lists = at(load<u32>(conv, ConvTimeline.Lists), frame);
    dealTimes(conv, view(layer, Stdbp.List, frame), lists);
    const lanes = delivers ? view(layer, Stdbp.Lanes, frame) : 0;
    let place = skipped;
    let list = lists;
    for (let position: u32 = 0; position < positions; ++position, list += listBytes, place += stored) {
      const delivered = view(layer, Stdbp.Delivered, frame) + place;
      const times = view(layer, Stdbp.Times, frame) + place;
      const inverses = view(layer, Stdbp.Inverses, frame) + place;
      const counts = view(layer, Stdbp.Counts, frame) + place;
      let panel = offset;
      for (let j: usize = 0; j < ((endPanel - firstPanel) as usize) << 6; j += 64, panel += panelBytes) {
        const to = gradient && gradient + panel;
        learn(list, weights + panel, to, limit, delivered + j, times + j, inverses + j, counts + j, lanes);
      }
    }
    if (delivers) deliver(layer, frame);
  }
}

/** dL/dt of the inputs that spiked: four lanes each, summed in a fixed tree; 0 for the silent. */
function deliver(layer: usize, frame: usize): void {
  const lanes = view(layer, Stdbp.Lanes, frame);
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
