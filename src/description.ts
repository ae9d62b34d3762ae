import { checkEncoder, isContinuous } from "./encoders.ts";
import { ArgumentError } from "./errors.ts";
import { checkInitializer } from "./initializers.ts";
import { checkLoss } from "./losses.ts";
import { type MethodDescriptor, methodOf } from "./methods/index.ts";
import type { Method, Model } from "./methods/method.ts";
import { blameFile, inFile, type ModelFile, type NetworkDescription } from "./model-file.ts";
import type { NetworkOptions } from "./network.ts";
import { checkParameters } from "./parameters.ts";
import { integer } from "./validate.ts";

const WHOLE_SEED = 2 ** 53 - 1;

/** Checks everything about a network but its weights and whether its layers fit; gives it with its method. */
export async function describe(
  option: Pick<NetworkOptions, "input" | "encoder" | "method" | "layers" | "seed" | "loss" | "initializer">,
): Promise<{ description: NetworkDescription; method: Method<MethodDescriptor> }> {
  const { input, encoder, method, layers, seed = 0, loss, initializer } = option;
  if (
    !Array.isArray(input) ||
    (input.length !== 1 && input.length !== 3) ||
    input.some((n) => !Number.isInteger(n) || n < 1)
  ) {
    throw new ArgumentError("input", input, "[channels, height, width] or [features], positive integers");
  }
  if (input.reduce((a, b) => a * b, 1) > 2 ** 24)
    throw new ArgumentError("input", input, "at most 16777216 values");
  integer("seed", seed, 0, WHOLE_SEED);
  const chosen = await methodOf(method);
  const checked = chosen.check(method);
  const goal = loss === undefined ? chosen.loss : checkLoss(loss);
  const known = chosen.losses ?? ["squaredError", "crossEntropy"];
  if (!known.includes(goal.kind)) {
    throw new ArgumentError("loss", goal.kind, `${known.join(" or ")}, which ${checked.kind} knows`);
  }
  if (goal.on !== undefined && !chosen.sources?.includes(goal.on)) {
    throw new ArgumentError(
      "loss.on",
      goal.on,
      `nothing: ${checked.kind} has one answer, and the loss reads it`,
    );
  }
  const canonical = chosen.expand(layers, checked);
  canonical.forEach((layer, i) => {
    if (layer.kind === "dense" && layer.recurrent && !chosen.recurrent)
      throw new ArgumentError(
        `layers[${i}].recurrent`,
        true,
        `false: ${checked.kind} has no recurrent layers`,
      );
    if (layer.kind === "neuron" && (layer.learnDecay || layer.learnThreshold) && !chosen.learnsNeurons) {
      const key = layer.learnDecay ? "learnDecay" : "learnThreshold";
      throw new ArgumentError(`layers[${i}].${key}`, true, `false: ${checked.kind} learns weights alone`);
    }
  });
  const coding = checkEncoder(encoder);
  if (isContinuous(coding) !== (chosen.continuous ?? false)) {
    throw new ArgumentError(
      "encoder",
      coding.kind,
      chosen.continuous
        ? `times() or firstSpike(): ${checked.kind} has continuous time, no steps`
        : `an encoder with time steps, such as poisson(): ${checked.kind} knows no continuous time`,
    );
  }
  const description = {
    input: [...input],
    encoder: coding,
    method: checked,
    layers: canonical,
    loss: goal,
    seed,
    ...(!SPIKEGRAD_TRAINING || initializer === undefined
      ? {}
      : { initializer: checkInitializer("initializer", initializer) }),
  };
  return { description, method: chosen };
}

/** The network's layers, if they fit each other. */
export function modelOf(description: NetworkDescription, chosen: Method<MethodDescriptor>): Model {
  const { input, layers, method, encoder, loss } = description;
  const [channels, height = 1, width = 1] = input;
  return chosen.model({ channels, height, width }, layers, method, encoder, loss);
}

/** The description in a file and the layers that it says, all of it checked. */
export async function modelInFile(
  file: ModelFile,
): Promise<{ description: NetworkDescription; model: Model }> {
  const place = "__metadata__.network";
  const { description, method } = await describe(file.network).catch((cause) => blameFile(place, cause));
  const model = inFile(place, () => modelOf(description, method));
  // Before memory is taken for what the file may only claim to hold.
  checkParameters(model.parameters, file);
  return { description, model };
}
