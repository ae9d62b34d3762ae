// The instruction loop. A program is data; see abi.ts for its layout.

import { Control, Frame, Op } from "./abi";
import { dropout } from "./encode/dropout";
import { latency } from "./encode/latency";
import { poissonSetup, poissonStep } from "./encode/poisson";
import { timesEncode } from "./encode/times";
import { adam } from "./learn/adam";
import { adamax } from "./learn/adamax";
import { clip } from "./learn/clip";
import { advance } from "./learn/hyper";
import { decolleDelta, decolleRegularize, decolleScore } from "./learn/local";
import { crossEntropy, givenGradient, squaredError } from "./learn/loss";
import { reduce } from "./learn/reduce";
import { sgd } from "./learn/sgd";
import { nudgeSilent, timesLoss, weightSumPenalty } from "./learn/times";
import { bpstaBackward, bpstaForward, vote, voteBackward } from "./neuron/bpsta";
import { decolleDense } from "./neuron/decolle-dense";
import {
  bypassBackward,
  bypassForward,
  maxValuesBackward,
  maxValuesForward,
  meanFrame,
  voteValues,
} from "./neuron/bypass";
import { decolleForward, decollePool, decolleTrace } from "./neuron/decolle";
import { leeBackward, leeFactor, leeForward, leeOutput, leePoolForward } from "./neuron/lee";
import { smooth } from "./neuron/smooth";
import { stdbpBackward, stdbpForward } from "./neuron/stdbp-layer";
import {
  normBackwardApply,
  normBackwardFinish,
  normBackwardSum,
  normFinish,
  normFixed,
  normMean,
  normSquares,
  normSum,
} from "./synapse/batchnorm";
import { stepLoss } from "./learn/steps";
import { surrogateBackward, surrogateForward, surrogateLearn } from "./neuron/surrogate";
import { biasBackward, biasForward } from "./synapse/bias";
import { deliver } from "./synapse/deliver";
import { directBackward, directForward, directGather } from "./synapse/direct";
import { earliestBackward, earliestForward } from "./synapse/earliest";
import { countOperations, fanoutBackward, fanoutForward } from "./synapse/fanout";
import { divide, maxPoolBackward, maxPoolForward, multiply } from "./synapse/pool";
import { fieldPoolBackward, fieldPoolForward } from "./synapse/fieldpool";
import { patchBackward, patchForward, patchGradient } from "./synapse/patch";
import { productBackward, productForward, productGather, transpose } from "./synapse/product";
import { routeBackward, routeForward } from "./synapse/route";
import { sweepBackward, sweepForward } from "./synapse/sweep";
import { sortTimes } from "./synapse/timeline";
import { barrier, goOn, nextBlock } from "./team";
import { at, endOfShare, endSample, enterLane, firstOfShare, firstSample } from "./view";

@inline
function operand(pc: usize, index: usize): usize {
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
        const last = load<u32>(control, Control.EndBlock);
        const first = load<u32>(control, Control.FirstBlock);
        for (let block = nextBlock(first, first, frame); block < last; block = nextBlock(block + 1, first, frame)) {
          goOn(frame);
          store<u32>(frame, block, Frame.Block);
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
      case Op.Clear:
        memory.fill(at(operand(pc, 0), frame), 0, operand(pc, 1));
        break;
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
        if (load<u32>(frame, Frame.Rank) == 0) execute(body, next, frame);
        break;
      }
      case Op.Barrier:
        barrier(frame);
        break;
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
      case Op.Dropout:
        dropout(operand(pc, 0), load<u32>(frame, Frame.Events), frame);
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
      case Op.FanoutBackward:
        fanoutBackward(operand(pc, 0), operand(pc, 1) as i32, frame);
        break;
      case Op.RouteForward:
        routeForward(operand(pc, 0), frame);
        break;
      case Op.RouteBackward:
        routeBackward(operand(pc, 0), operand(pc, 1) as i32, frame);
        break;
      case Op.CountOperations:
        countOperations(operand(pc, 0), operand(pc, 1), frame);
        break;
      case Op.BiasForward:
        biasForward(operand(pc, 0), frame);
        break;
      case Op.BiasBackward:
        biasBackward(operand(pc, 0), frame);
        break;
      case Op.MaxPoolForward:
        maxPoolForward(operand(pc, 0), frame);
        break;
      case Op.MaxPoolBackward:
        maxPoolBackward(operand(pc, 0), frame);
        break;
      case Op.Divide:
        divide(at(operand(pc, 0), frame), operand(pc, 1), reinterpret<f32>(operand(pc, 2) as u32));
        break;
      case Op.Multiply:
        multiply(at(operand(pc, 0), frame), at(operand(pc, 1), frame), operand(pc, 2));
        break;
      case Op.NormSum:
        normSum(operand(pc, 0), frame);
        break;
      case Op.NormMean:
        normMean(operand(pc, 0), frame);
        break;
      case Op.NormSquares:
        normSquares(operand(pc, 0), frame);
        break;
      case Op.NormFinish:
        normFinish(operand(pc, 0), frame);
        break;
      case Op.NormFixed:
        normFixed(operand(pc, 0), frame);
        break;
      case Op.NormBackwardSum:
        normBackwardSum(operand(pc, 0), frame);
        break;
      case Op.NormBackwardFinish:
        normBackwardFinish(operand(pc, 0), frame);
        break;
      case Op.NormBackwardApply:
        normBackwardApply(operand(pc, 0), frame);
        break;
      case Op.SweepForward:
        sweepForward(operand(pc, 0), operand(pc, 1) as i32, frame);
        break;
      case Op.SweepBackward:
        sweepBackward(operand(pc, 0), operand(pc, 1) as i32, operand(pc, 2) as i32, frame);
        break;
      case Op.FieldPoolForward:
        fieldPoolForward(operand(pc, 0), frame);
        break;
      case Op.FieldPoolBackward:
        fieldPoolBackward(operand(pc, 0), frame);
        break;
      case Op.DirectGather:
        directGather(operand(pc, 0), frame);
        break;
      case Op.DirectForward:
        directForward(operand(pc, 0), frame);
        break;
      case Op.DirectBackward:
        directBackward(operand(pc, 0), frame);
        break;
      case Op.Deliver:
        deliver(operand(pc, 0), frame);
        break;
      case Op.SortTimes:
        sortTimes(operand(pc, 0), frame);
        break;
      case Op.EarliestForward:
        earliestForward(operand(pc, 0), frame);
        break;
      case Op.EarliestBackward:
        earliestBackward(operand(pc, 0), frame);
        break;
      case Op.ProductGather:
        productGather(operand(pc, 0), frame);
        break;
      case Op.ProductForward:
        productForward(operand(pc, 0), frame);
        break;
      case Op.ProductBackward:
        productBackward(operand(pc, 0), operand(pc, 1) != 0, frame);
        break;
      case Op.Transpose:
        transpose(at(operand(pc, 0), frame), at(operand(pc, 1), frame), operand(pc, 2), operand(pc, 3), operand(pc, 4));
        break;
      case Op.PatchForward:
        patchForward(operand(pc, 0), frame);
        break;
      case Op.PatchBackward:
        patchBackward(operand(pc, 0), frame);
        break;
      case Op.PatchGradient:
        patchGradient(operand(pc, 0), frame);
        break;
      case Op.LeeForward:
        leeForward(operand(pc, 0), frame);
        break;
      case Op.LeeFactor:
        leeFactor(operand(pc, 0), frame);
        break;
      case Op.LeeBackward:
        leeBackward(operand(pc, 0), frame);
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
      case Op.BpstaBackward:
        bpstaBackward(operand(pc, 0), frame);
        break;
      case Op.Vote:
        vote(operand(pc, 0), frame);
        break;
      case Op.VoteBackward:
        voteBackward(operand(pc, 0), frame);
        break;
      case Op.BypassForward:
        bypassForward(operand(pc, 0), frame);
        break;
      case Op.BypassBackward:
        bypassBackward(operand(pc, 0), frame);
        break;
      case Op.MaxValuesForward:
        maxValuesForward(operand(pc, 0), frame);
        break;
      case Op.MaxValuesBackward:
        maxValuesBackward(operand(pc, 0), frame);
        break;
      case Op.VoteValues:
        voteValues(operand(pc, 0), frame);
        break;
      case Op.MeanFrame:
        meanFrame(at(operand(pc, 0), frame), at(operand(pc, 1), frame), operand(pc, 2), operand(pc, 3), operand(pc, 4));
        break;
      case Op.SurrogateForward:
        surrogateForward(operand(pc, 0), frame);
        break;
      case Op.SurrogateBackward:
        surrogateBackward(operand(pc, 0), frame);
        break;
      case Op.SurrogateLearn:
        surrogateLearn(operand(pc, 0), frame);
        break;
      case Op.StdbpForward:
        stdbpForward(operand(pc, 0), frame);
        break;
      case Op.StdbpBackward:
        stdbpBackward(operand(pc, 0), frame);
        break;
      case Op.DecolleTrace:
        decolleTrace(operand(pc, 0), frame);
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
      case Op.DecolleRegularize:
        decolleRegularize(operand(pc, 0), frame);
        break;
      case Op.DecolleDelta:
        decolleDelta(operand(pc, 0), frame);
        break;
      case Op.SmoothSpikes:
        smooth(operand(pc, 0), frame);
        break;
      case Op.SquaredError:
        squaredError(operand(pc, 0), frame);
        break;
      case Op.CrossEntropy:
        crossEntropy(operand(pc, 0), frame);
        break;
      case Op.GivenGradient:
        givenGradient(operand(pc, 0), frame);
        break;
      case Op.StepLoss:
        stepLoss(operand(pc, 0), frame);
        break;
      case Op.Reduce:
        reduce(operand(pc, 0), operand(pc, 1), frame);
        break;
      case Op.Sgd:
        sgd(operand(pc, 0), frame);
        break;
      case Op.Adam:
        adam(operand(pc, 0), frame);
        break;
      case Op.Adamax:
        adamax(operand(pc, 0), frame);
        break;
      case Op.Advance:
        advance(operand(pc, 0), frame);
        break;
      case Op.TimesLoss:
        timesLoss(operand(pc, 0), operand(pc, 1) != 0, frame);
        break;
      case Op.WeightSumPenalty:
        weightSumPenalty(operand(pc, 0), frame);
        break;
      case Op.NudgeSilent:
        nudgeSilent(operand(pc, 0), frame);
        break;
      case Op.Clip:
        clip(operand(pc, 0), frame);
        break;
      default:
        unreachable();
    }
    pc = next;
  }
}
