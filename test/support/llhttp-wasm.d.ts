declare module "undici/lib/llhttp/llhttp-wasm.js" {
  /** The compiled module. */
  const wasm: Buffer<ArrayBuffer>;
  export default wasm;
}
