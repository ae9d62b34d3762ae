import type { Engine } from "./core/engine.ts";
import { shapeOf } from "./core/geometry.ts";
import type { PlainPort, RecordPort } from "./methods/method.ts";
import type { Tensor } from "./tensor.ts";

/** A recorded tensor of the first `count` samples, in the user's layout: `[T, B, …layer]`, or `[B, …layer]`. */
export function readRecord(engine: Engine, port: RecordPort | PlainPort, count: number): Tensor {
  if (port.kind === "plain") {
    const { shape } = port;
    const length = shape.reduce((a, b) => a * b, 1);
    return { shape, data: engine.f32(port.address, length).slice() };
  }
  const { layout, kind, address } = port;
  const steps = Math.max(port.steps, 1);
  const positions = layout.positions();
  const n = positions.length;
  const data = new Float32Array(steps * count * n);
  const stride = kind === "bits" ? layout.bitBytes / 4 : layout.length;
  const words = engine.u32(address, count * steps * stride);
  const values = engine.f32(address, count * steps * stride);
  const amplitude = port.amplitude ? engine.f32(port.amplitude, count * layout.length) : undefined;
  for (let t = 0; t < steps; t++) {
    for (let s = 0; s < count; s++) {
      const base = (s * steps + t) * stride;
      for (let i = 0; i < n; i++) {
        const at = positions[i];
        let value: number;
        if (kind === "values") value = values[base + at];
        else {
          const row = Math.floor(at / layout.rowLength);
          const place = at - row * layout.rowLength;
          value = (words[base + row * layout.rowWords + (place >> 5)] >>> (place & 31)) & 1;
          if (value && amplitude) value = amplitude[s * layout.length + at];
        }
        data[(t * count + s) * n + i] = value;
      }
    }
  }
  const shape = [count, ...shapeOf(layout.extent)];
  return { shape: port.steps ? [steps, ...shape] : shape, data };
}
