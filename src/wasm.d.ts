// esbuild's binary loader turns a .wasm import into its bytes.
declare module "*.wasm" {
  const bytes: Uint8Array<ArrayBuffer>;
  export default bytes;
}

// The constants that core and wrapper share name AssemblyScript's types.
declare type i32 = number;
declare type u32 = number;
declare type f32 = number;
