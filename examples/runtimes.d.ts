// What these examples use of runtimes whose types are not installed.
declare const Deno: {
  readFile(path: URL): Promise<Uint8Array>;
  serve(
    option: { hostname: string; port: number; onListen(address: { port: number }): void },
    handler: (request: Request) => Promise<Response>,
  ): unknown;
  readonly env: { get(name: string): string | undefined };
};
declare const Bun: {
  file(path: URL): { bytes(): Promise<Uint8Array> };
  serve(option: { hostname: string; port: number; fetch: (request: Request) => Promise<Response> }): {
    readonly port: number;
  };
};
declare module "*.safetensors" {
  const file: ArrayBuffer;
  export default file;
}
