// What the build makes of a core that is imported: its bytes in base64, those of its zlib stream, or the module that a CDN
// worker's host has compiled.
declare module "*.wasm" {
  const text: string;
  export default text;
}
declare module "*.wasm?deflated" {
  const text: string;
  export default text;
}
// In the bundle that only infers: a core with what one method needs, deflated.
declare module "*.wasm?method" {
  const text: string | undefined;
  export default text;
}
declare module "*.wasm?module" {
  const module: WebAssembly.Module;
  export default module;
}

// The constants that core and wrapper share name AssemblyScript's types.
declare type i32 = number;
declare type u32 = number;
declare type f32 = number;

// The script of the workers, as text; see scripts/build.mjs.
declare module "worker-source" {
  const text: string;
  export default text;
}

/** False in the bundle that only infers, where what it guards is left out. Set by the bundler. */
declare const SPIKEGRAD_TRAINING: boolean;
