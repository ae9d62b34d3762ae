import { denseTables, type FanoutGeometry, type Layout } from "./geometry.ts";

/** Outputs of a panel. */
const WIDTH = 32;
/** A fanout's events hold the number of their runs in eight bits. */
const MOST_PANELS = 255;

/**
 * Dense weights panel by panel: `[panel][input][32 outputs]`, so that what a walk over many inputs reads of a panel is
 * contiguous, in few pages and all cache sets. To a fanout each panel is a run. `dense` again where they do not fit.
 */
export function panelGeometry(dense: FanoutGeometry, from: Layout, to: Layout): FanoutGeometry {
  const panels = to.channels / WIDTH;
  if (!Number.isInteger(panels) || panels > MOST_PANELS) return dense;
  const panel = from.length * WIDTH;
  return {
    ...dense,
    ...denseTables(from, WIDTH, WIDTH / 4, panels, to.extent.channels),
    target: { ...dense.target, stride: WIDTH * 4 },
    weightStride: panel * 4,
    panels: true,
    narrow: 0,
    weightLength: panel * panels,
    places: { first: () => from.positions().map((position) => position * WIDTH), width: WIDTH, group: panel },
  };
}

/** Bytes from the weights of an input to those of the next, and of thirty-two outputs to those of the next. */
export function weightSteps({ panels, weightStride }: FanoutGeometry): { stride: number; panel: number } {
  return panels ? { stride: WIDTH * 4, panel: weightStride } : { stride: weightStride, panel: WIDTH * 4 };
}
