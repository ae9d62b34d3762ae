// Instructions that inference never meets: what only training, counting, masks and checks need.

import { Frame, Op } from "./abi";
import { dropout } from "./encode/dropout";
import { adam } from "./learn/adam";
import { adamax } from "./learn/adamax";
import { clip, survey } from "./learn/clip";
import { advance } from "./learn/hyper";
import { decolleDelta, decolleRegularize } from "./learn/local";
import { crossEntropy, squaredError } from "./learn/loss";
import { reduce } from "./learn/reduce";
import { sgd } from "./learn/sgd";
import { nudgeSilent, weightSumPenalty } from "./learn/times";
import { bpstaBackward, voteBackward } from "./neuron/bpsta";
import {
  bypassBackward,
  bypassForward,
  maxValuesBackward,
  maxValuesForward,
  meanFrame,
  voteValues,
} from "./neuron/bypass";
import { decolleTrace } from "./neuron/decolle";
import { leeBackward, leeFactor } from "./neuron/lee";
import { smooth } from "./neuron/smooth";
import { stdbpBackward } from "./neuron/stdbp-layer";
import {
  normBackwardApply,
  normBackwardFinish,
  normBackwardSum,
  normFinish,
  normMean,
  normSquares,
  normSum,
} from "./synapse/batchnorm";
import { surrogateBackward, surrogateLearn } from "./neuron/surrogate";
import { biasBackward, biasGradient } from "./synapse/bias";
import { deliver } from "./synapse/deliver";
import { directBackward } from "./synapse/direct";
import { earliestBackward } from "./synapse/earliest";
import { countOperations, fanoutBackward } from "./synapse/fanout";
import { maxPoolBackward, multiply } from "./synapse/pool";
import { fieldPoolBackward } from "./synapse/fieldpool";
import { patchBackward, patchForward, patchGradient } from "./synapse/patch";
import { productBackward, productForward, productGather, transpose } from "./synapse/product";
import { routeBackward } from "./synapse/route";
import { sweepBackward } from "./synapse/sweep";
import { barrier, keepUp } from "./team";
import { at } from "./view";
import { operand } from "./program";

/** Runs the instruction `op` at `pc`. */
export function train(op: u32, pc: usize, frame: usize): void {
  switch (op) {
    case Op.Barrier:
      barrier(frame);
      break;
    case Op.KeepUp:
      if (ASC_FEATURE_THREADS) keepUp(operand(pc, 0) as u32, operand(pc, 1) as u32, frame);
      break;
    case Op.Survey:
      if (ASC_FEATURE_THREADS) survey(operand(pc, 0), frame);
      break;
    case Op.Dropout:
      dropout(operand(pc, 0), load<u32>(frame, Frame.Events), frame);
      break;
    case Op.FanoutBackward:
      fanoutBackward(operand(pc, 0), operand(pc, 1) as i32, frame);
      break;
    case Op.RouteBackward:
      routeBackward(operand(pc, 0), operand(pc, 1) as i32, frame);
      break;
    case Op.CountOperations:
      countOperations(operand(pc, 0), operand(pc, 1), frame);
      break;
    case Op.BiasBackward:
      biasBackward(operand(pc, 0), frame);
      break;
    case Op.BiasGradient:
      biasGradient(operand(pc, 0), operand(pc, 1), frame);
      break;
    case Op.MaxPoolBackward:
      maxPoolBackward(operand(pc, 0), frame);
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
    case Op.NormBackwardSum:
      normBackwardSum(operand(pc, 0), frame);
      break;
    case Op.NormBackwardFinish:
      normBackwardFinish(operand(pc, 0), frame);
      break;
    case Op.NormBackwardApply:
      normBackwardApply(operand(pc, 0), frame);
      break;
    case Op.SweepBackward:
      sweepBackward(operand(pc, 0), operand(pc, 1) as i32, operand(pc, 2) as i32, frame);
      break;
    case Op.FieldPoolBackward:
      fieldPoolBackward(operand(pc, 0), frame);
      break;
    case Op.DirectBackward:
      directBackward(operand(pc, 0), frame);
      break;
    case Op.Deliver:
      deliver(operand(pc, 0), frame);
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
      productBackward(operand(pc, 0), operand(pc, 1), frame);
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
    case Op.LeeFactor:
      leeFactor(operand(pc, 0), frame);
      break;
    case Op.LeeBackward:
      leeBackward(operand(pc, 0), frame);
      break;
    case Op.BpstaBackward:
      bpstaBackward(operand(pc, 0), frame);
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
    case Op.SurrogateBackward:
      surrogateBackward(operand(pc, 0), frame);
      break;
    case Op.SurrogateLearn:
      surrogateLearn(operand(pc, 0), frame);
      break;
    case Op.StdbpBackward:
      stdbpBackward(operand(pc, 0), frame);
      break;
    case Op.DecolleTrace:
      decolleTrace(operand(pc, 0), frame);
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
}
