// The instruction loop. A program is data; see abi.ts for its layout.

import { Control, Frame, Op } from "./abi";
import { latency } from "./encode/latency";
import { poissonSetup, poissonStep } from "./encode/poisson";
import { timesEncode } from "./encode/times";
import { decolleScore } from "./learn/local";
import { givenGradient } from "./learn/loss";
import { stepLoss } from "./learn/steps";
import { timesLoss } from "./learn/times";
import { bpstaForward, vote } from "./neuron/bpsta";
import { decolleForward, decollePool } from "./neuron/decolle";
import { decolleDense } from "./neuron/decolle-dense";
import { leeForward, leeOutput, leePoolForward } from "./neuron/lee";
import { stdbpForward } from "./neuron/stdbp-layer";
import { surrogateForward } from "./neuron/surrogate";
import { normFixed } from "./synapse/batchnorm";
import { biasForward } from "./synapse/bias";
import { directForward, directGather } from "./synapse/direct";
import { earliestForward } from "./synapse/earliest";
import { fanoutForward } from "./synapse/fanout";
import { fieldPoolForward } from "./synapse/fieldpool";
import { divide, maxPoolForward } from "./synapse/pool";
import { routeForward } from "./synapse/route";
import { sweepForward } from "./synapse/sweep";
import { sortTimes } from "./synapse/timeline";
import { begins, goOn, nextPart } from "./team";
import { at, endOfShare, endSample, enterLane, firstOfShare, firstSample, isFirst } from "./view";
import { train } from "./training";

@inline
export function operand(pc: usize, index: usize): usize {
  return load<u32>(pc + (index << 2), 8) as usize;
}

/** Runs the instructions of [pc, end) for one rank. */
export function execute(pc: usize, end: usize, frame: usize): void {
  while (pc < end) {
    const op = load<u32>(pc);
    let next = pc + (load<u32>(pc, 4) << 2);
    switch (op) {
      case Op.End:
        return;
      case Op.ForBlocks: {
        const body = next;
        next += operand(pc, 0) << 2;
        const control = load<u32>(frame, Frame.Control) as usize;
        const first = load<u32>(control, Control.FirstBlock) as usize;
        const blocks = (load<u32>(control, Control.EndBlock) as usize) - first;
        for (let block = nextPart(0, blocks, frame); block < blocks; block = nextPart(block + 1, blocks, frame)) {
          goOn(frame);
          store<u32>(frame, (first + block) as u32, Frame.Block);
          execute(body, next, frame);
        }
        store<u32>(frame, 0, Frame.Block);
        break;
      }
      case Op.ForSamples: {
        const body = next;
        next += operand(pc, 0) << 2;
        const last = endSample(frame);
        for (let sample = firstSample(frame); sample < last; ++sample) {
          goOn(frame);
          store<u32>(frame, sample, Frame.Sample);
          execute(body, next, frame);
        }
        break;
      }
      case Op.ForSteps: {
        const body = next;
        next += operand(pc, 0) << 2;
        const steps = operand(pc, 1) as i32;
        const up = operand(pc, 2) != 0;
        for (let i = 0; i < steps; ++i) {
          goOn(frame);
          store<u32>(frame, up ? i : steps - 1 - i, Frame.Step);
          execute(body, next, frame);
        }
        store<u32>(frame, 0, Frame.Step);
        break;
      }
      case Op.ForBatch: {
        const body = next;
        next += operand(pc, 0) << 2;
        const control = load<u32>(frame, Frame.Control) as usize;
        const last = load<u32>(control, Control.EndBlock) == load<u32>(control, Control.Blocks);
        if (operand(pc, 1) ? last : load<u32>(control, Control.FirstBlock) == 0) execute(body, next, frame);
        break;
      }
      case Op.AfterFirst: {
        const body = next;
        next += operand(pc, 0) << 2;
        if (load<u32>(frame, Frame.Step)) execute(body, next, frame);
        break;
      }
      case Op.Clear: {
        const to = at(operand(pc, 0), frame);
        const bytes = operand(pc, 1);
        const shared = operand(pc, 2) != 0;
        const first = shared ? firstOfShare(bytes >> 6, frame) << 6 : 0;
        const end = shared ? endOfShare(bytes >> 6, frame) << 6 : bytes;
        memory.fill(to + first, 0, end - first);
        break;
      }
      case Op.Copy: {
        let to = at(operand(pc, 0), frame);
        let from = at(operand(pc, 1), frame);
        for (let row = operand(pc, 2); row; --row) {
          memory.copy(to, from, operand(pc, 3));
          to += operand(pc, 4);
          from += operand(pc, 5);
        }
        break;
      }
      case Op.FromStep: {
        const body = next;
        next += operand(pc, 0) << 2;
        const first = load<u32>(load<u32>(frame, Frame.Control), Control.FirstStep);
        if (load<u32>(frame, Frame.Step) + first >= (operand(pc, 1) as u32)) execute(body, next, frame);
        break;
      }
      case Op.ForShare: {
        const body = next;
        next += operand(pc, 0) << 2;
        const samples = load<u32>(load<u32>(frame, Frame.Control), Control.Samples) as usize;
        const last = endOfShare(samples, frame);
        for (let sample = firstOfShare(samples, frame); sample < last; ++sample) {
          goOn(frame);
          store<u32>(frame, sample as u32, Frame.Sample);
          execute(body, next, frame);
        }
        break;
      }
      case Op.RankZero: {
        const body = next;
        next += operand(pc, 0) << 2;
        if (isFirst(frame)) execute(body, next, frame);
        break;
      }
      case Op.Commit: {
        if (!ASC_FEATURE_THREADS) unreachable();
        const body = next;
        next += operand(pc, 0) << 2;
        if (begins(frame)) execute(body, next, frame);
        break;
      }
      case Op.ForGroups: {
        const body = next;
        next += operand(pc, 0) << 2;
        const size = operand(pc, 1) as u32;
        const block = load<u32>(frame, Frame.Block);
        const last = endSample(frame);
        for (let first = firstSample(frame); first < last; first += size) {
          goOn(frame);
          store<u32>(frame, first, Frame.GroupFirst);
          store<u32>(frame, min(first + size, last), Frame.GroupEnd);
          store<u32>(frame, 0, Frame.Block);
          execute(body, next, frame);
          store<u32>(frame, block, Frame.Block);
        }
        break;
      }
      case Op.ForLanes: {
        const body = next;
        next += operand(pc, 0) << 2;
        const lanes = load<u32>(frame, Frame.GroupEnd) - load<u32>(frame, Frame.GroupFirst);
        for (let lane: u32 = 0; lane < lanes; ++lane) {
          goOn(frame);
          enterLane(lane, frame);
          execute(body, next, frame);
        }
        break;
      }
      case Op.PoissonSetup:
        poissonSetup(operand(pc, 0), frame);
        break;
      case Op.PoissonStep:
        poissonStep(operand(pc, 0), frame);
        break;
      case Op.Latency:
        latency(operand(pc, 0), load<u32>(frame, Frame.Events), frame);
        break;
      case Op.TimesEncode:
        timesEncode(operand(pc, 0), load<u32>(frame, Frame.Events), frame);
        break;
      case Op.FanoutForward:
        fanoutForward(operand(pc, 0), frame);
        break;
      case Op.RouteForward:
        routeForward(operand(pc, 0), frame);
        break;
      case Op.BiasForward:
        biasForward(operand(pc, 0), frame);
        break;
      case Op.MaxPoolForward:
        maxPoolForward(operand(pc, 0), frame);
        break;
      case Op.Divide:
        divide(at(operand(pc, 0), frame), operand(pc, 1), reinterpret<f32>(operand(pc, 2) as u32));
        break;
      case Op.NormFixed:
        normFixed(operand(pc, 0), frame);
        break;
      case Op.SweepForward:
        sweepForward(operand(pc, 0), operand(pc, 1) as i32, frame);
        break;
      case Op.FieldPoolForward:
        fieldPoolForward(operand(pc, 0), frame);
        break;
      case Op.DirectGather:
        directGather(operand(pc, 0), frame);
        break;
      case Op.DirectForward:
        directForward(operand(pc, 0), frame);
        break;
      case Op.SortTimes:
        sortTimes(operand(pc, 0), frame);
        break;
      case Op.EarliestForward:
        earliestForward(operand(pc, 0), frame);
        break;
      case Op.LeeForward:
        leeForward(operand(pc, 0), frame);
        break;
      case Op.LeePoolForward:
        leePoolForward(operand(pc, 0), frame);
        break;
      case Op.LeeOutput:
        leeOutput(operand(pc, 0), frame);
        break;
      case Op.BpstaForward:
        bpstaForward(operand(pc, 0), frame);
        break;
      case Op.Vote:
        vote(operand(pc, 0), frame);
        break;
      case Op.SurrogateForward:
        surrogateForward(operand(pc, 0), operand(pc, 1) as u32, frame);
        break;
      case Op.StdbpForward:
        stdbpForward(operand(pc, 0), frame);
        break;
      case Op.DecolleForward:
        decolleForward(operand(pc, 0), frame);
        break;
      case Op.DecolleDense:
        decolleDense(operand(pc, 0), frame);
        break;
      case Op.DecollePool:
        decollePool(operand(pc, 0), frame);
        break;
      case Op.DecolleScore:
        decolleScore(operand(pc, 0), frame);
        break;
      case Op.GivenGradient:
        givenGradient(operand(pc, 0), frame);
        break;
      case Op.StepLoss:
        stepLoss(operand(pc, 0), frame);
        break;
      case Op.TimesLoss:
        timesLoss(operand(pc, 0), operand(pc, 1) != 0, frame);
        break;
      default:
        // The core that only infers knows no others, and none of their kernels.
        if (isDefined(INFERENCE)) unreachable();
        else train(op, pc, frame);
    }
    pc = next;
  }
}
