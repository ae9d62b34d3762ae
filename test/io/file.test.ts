import { execFileSync, spawn } from "node:child_process";
import * as nodeFs from "node:fs/promises";
import {
  chmod,
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ArgumentError, FileError } from "../../src/errors.ts";
import { type FileSystem, readFileBytes, writeFileAtomic } from "../../src/io/file.ts";

const bytes = Uint8Array.of(1, 2, 3);
const old = Uint8Array.of(9);

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "spikegrad-file-"));
  path = join(folder, "model.safetensors");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function fileError(promise: Promise<unknown>): Promise<FileError> {
  const error = await promise.then(
    () => new Error("nothing was thrown"),
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(FileError);
  return error;
}

const contents = async (file = path) => new Uint8Array(await readFile(file));
const failure = (code: string) => Object.assign(new Error(code), { code });

/** The real file system with some calls replaced. */
const broken = (calls: Partial<FileSystem>): FileSystem => ({ ...nodeFs, ...calls });

/** A file system whose file handles fail at `method`; folders open as ever. */
const brokenHandle = (method: "writeFile" | "sync" | "close" | "chmod", code: string): FileSystem =>
  broken({
    open: async (name, flags, mode) => {
      const handle = await nodeFs.open(name, flags, mode);
      if (flags !== "wx") return handle;
      const real = handle[method].bind(handle) as (...args: unknown[]) => Promise<void>;
      Object.defineProperty(handle, method, {
        value: async (...args: unknown[]) => {
          // What a full disk does: some of the bytes are there, then it fails.
          if (method === "writeFile") await handle.write(Uint8Array.of(1));
          if (method === "close") await real(...args);
          throw failure(code);
        },
      });
      return handle;
    },
  });

describe("writeFileAtomic", () => {
  test("writes a new file and leaves nothing beside it", async () => {
    await writeFileAtomic(path, bytes);
    expect(await contents()).toEqual(bytes);
    expect(await readdir(folder)).toEqual(["model.safetensors"]);
    await writeFileAtomic(join(folder, "empty"), new Uint8Array(0));
    expect((await stat(join(folder, "empty"))).size).toBe(0);
  });

  test("refuses a file that is there", async () => {
    await writeFile(path, old);
    const error = await fileError(writeFileAtomic(path, bytes));
    expect(error.message).toBe(
      `cannot write "${path}": it exists already (EEXIST); choose another name or allow overwriting`,
    );
    expect(await contents()).toEqual(old);
    expect(await readdir(folder)).toHaveLength(1);
  });

  test("refuses a link that leads nowhere, but replaces it where it may", async () => {
    await symlink(join(folder, "nowhere"), path);
    await fileError(writeFileAtomic(path, bytes));
    await writeFileAtomic(path, bytes, { overwrite: true });
    expect(await contents()).toEqual(bytes);
  });

  test("replaces where it may, keeping the mode", async () => {
    await writeFile(path, old);
    await chmod(path, 0o640);
    await writeFileAtomic(path, bytes, { overwrite: true });
    expect(await contents()).toEqual(bytes);
    expect((await stat(path)).mode & 0o777).toBe(0o640);
    expect(await readdir(folder)).toHaveLength(1);
  });

  test("follows a symbolic link, and leaves other names of the old file alone", async () => {
    const target = join(folder, "target");
    const other = join(folder, "other");
    await writeFile(target, old);
    await link(target, other);
    await symlink("target", path);
    await writeFileAtomic(path, bytes, { overwrite: true });
    expect(await contents(target)).toEqual(bytes);
    expect((await nodeFs.lstat(path)).isSymbolicLink()).toBe(true);
    expect(await contents(other)).toEqual(old);
  });

  test("does not replace a file that appears while it writes", async () => {
    const fs = broken({
      link: async (from, to) => {
        await writeFile(path, old);
        return nodeFs.link(from, to);
      },
    });
    expect((await fileError(writeFileAtomic(path, bytes, { fs }))).message).toContain("EEXIST");
    expect(await contents()).toEqual(old);
    expect(await readdir(folder)).toHaveLength(1);
  });

  test("of many writers at once, one wins and its file is whole", async () => {
    const results = await Promise.allSettled(
      Array.from({ length: 16 }, (_, i) => writeFileAtomic(path, new Uint8Array(50_000).fill(i))),
    );
    const winner = results.findIndex(({ status }) => status === "fulfilled");
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect(await contents()).toEqual(new Uint8Array(50_000).fill(winner));
    expect(await readdir(folder)).toHaveLength(1);
  });

  describe("where there are no hard links", () => {
    const noLinks = { link: () => Promise.reject(failure("EPERM")) };

    test("writes", async () => {
      await writeFileAtomic(path, bytes, { fs: broken(noLinks) });
      expect(await contents()).toEqual(bytes);
      expect(await readdir(folder)).toHaveLength(1);
    });

    test("does not replace a file that appears while it writes", async () => {
      const fs = broken({
        link: async () => {
          await writeFile(path, old);
          throw failure("ENOTSUP");
        },
      });
      expect((await fileError(writeFileAtomic(path, bytes, { fs }))).message).toContain("EEXIST");
      expect(await contents()).toEqual(old);
      expect(await readdir(folder)).toHaveLength(1);
    });

    test("leaves no empty file if the rename fails", async () => {
      const fs = broken({ ...noLinks, rename: () => Promise.reject(failure("EIO")) });
      expect((await fileError(writeFileAtomic(path, bytes, { fs }))).message).toContain("the disk failed");
      expect(await readdir(folder)).toEqual([]);
    });
  });

  describe("failures leave the folder as it was", () => {
    test.each<[string, FileSystem, string]>([
      [
        "disk full while writing",
        brokenHandle("writeFile", "ENOSPC"),
        "no space left on the device (ENOSPC)",
      ],
      ["disk full at the sync", brokenHandle("sync", "ENOSPC"), "no space left on the device (ENOSPC)"],
      ["quota at the close", brokenHandle("close", "EDQUOT"), "the disk quota is used up (EDQUOT)"],
      ["mode refused", brokenHandle("chmod", "EPERM"), "operation not permitted (EPERM)"],
      [
        "another device",
        broken({
          rename: () => Promise.reject(failure("EXDEV")),
          link: () => Promise.reject(failure("EXDEV")),
        }),
        "EXDEV",
      ],
      ["in use", broken({ rename: () => Promise.reject(failure("EBUSY")) }), "it is in use (EBUSY)"],
      ["no code", broken({ open: () => Promise.reject(new Error("odd")) }), ": odd"],
    ])("%s", async (_, fs, reason) => {
      await writeFile(path, old);
      const error = await fileError(writeFileAtomic(path, bytes, { fs, overwrite: true }));
      expect(error.argument).toBe(path);
      expect(error.message).toContain(`cannot write "${path}": `);
      expect(error.message).toContain(reason);
      expect(await contents()).toEqual(old);
      expect(await readdir(folder)).toEqual(["model.safetensors"]);
    });

    test("a temporary file that cannot be removed does not hide why it was left", async () => {
      const fs = { ...brokenHandle("writeFile", "ENOSPC"), rm: () => Promise.reject(failure("EIO")) };
      expect((await fileError(writeFileAtomic(path, bytes, { fs }))).message).toContain("ENOSPC");
    });
  });

  test("a folder that cannot be synced is no failure, one that fails to is", async () => {
    const withFolder = (code: string) =>
      broken({
        open: async (name, flags, mode) => {
          if (name === folder) throw failure(code);
          return nodeFs.open(name, flags, mode);
        },
      });
    await writeFileAtomic(path, bytes, { fs: withFolder("EISDIR") });
    const error = await fileError(writeFileAtomic(path, bytes, { fs: withFolder("EIO"), overwrite: true }));
    expect(error.message).toContain("the disk failed");
  });

  test("paths that no file can have", async () => {
    await mkdir(join(folder, "sub"));
    await writeFile(path, old);
    const message = async (name: string, overwrite = true) =>
      (await fileError(writeFileAtomic(name, bytes, { overwrite }))).message;
    expect(await message(join(folder, "sub"))).toContain("it is a folder (EISDIR)");
    expect(await message(join(folder, "none", "x"))).toContain("no such file or folder (ENOENT)");
    expect(await message(join(path, "x"))).toContain("a part of the path is no folder (ENOTDIR)");
    expect(await message(join(folder, "x".repeat(300)))).toContain("the name is too long (ENAMETOOLONG)");
    expect(await message("/dev/null")).toContain("it is no regular file");
    expect((await stat("/dev/null")).isCharacterDevice()).toBe(true);
    expect(await message("/proc/1/x\u001b[2J")).not.toContain("\u001b");
  });

  test("arguments", async () => {
    await expect(writeFileAtomic("", bytes)).rejects.toBeInstanceOf(ArgumentError);
    await expect(writeFileAtomic("a\0b", bytes)).rejects.toBeInstanceOf(ArgumentError);
    await expect(writeFileAtomic(1 as never, bytes)).rejects.toBeInstanceOf(ArgumentError);
    await expect(writeFileAtomic(path, "text" as never)).rejects.toBeInstanceOf(ArgumentError);
    await expect(writeFileAtomic(path, bytes.buffer as never)).rejects.toBeInstanceOf(ArgumentError);
  });

  test("a full disk", async (context) => {
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "spikegrad-test", folder], { stdio: "pipe" });
    } catch {
      console.warn("full disk is skipped: no right to mount a small one");
      context.skip();
    }
    try {
      await writeFileAtomic(path, bytes);
      const large = new Uint8Array(1 << 20);
      const other = join(folder, "other");
      expect((await fileError(writeFileAtomic(other, large))).message).toContain(
        "no space left on the device",
      );
      await fileError(writeFileAtomic(path, large, { overwrite: true }));
      expect(await readdir(folder)).toEqual(["model.safetensors"]);
      expect(await contents()).toEqual(bytes);
    } finally {
      execFileSync("umount", [folder]);
    }
  });

  test("a writer that is killed leaves no part of a file under the name", async () => {
    const library = join(folder, "file.mjs");
    await build({
      entryPoints: [join(import.meta.dirname, "../../src/io/file.ts")],
      outfile: library,
      bundle: true,
      platform: "node",
      format: "esm",
      logLevel: "silent",
    });
    await writeFile(path, old);
    const script = `
      import * as nodeFs from "node:fs/promises";
      import { writeFileAtomic } from ${JSON.stringify(pathToFileURL(library).href)};
      const open = async (...args) => {
        const handle = await nodeFs.open(...args);
        handle.writeFile = async (bytes) => {
          await handle.write(bytes.subarray(0, bytes.length / 2));
          process.kill(process.pid, "SIGKILL");
        };
        return handle;
      };
      const fs = { ...nodeFs, open };
      await writeFileAtomic(${JSON.stringify(path)}, new Uint8Array(1000), { overwrite: true, fs });`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script]);
    const signal = await new Promise((resolve) => child.once("exit", (_, by) => resolve(by)));
    expect(signal).toBe("SIGKILL");
    expect(await contents()).toEqual(old);
    const left = (await readdir(folder)).filter((name) => name.endsWith(".tmp"));
    expect(left).toHaveLength(1);
    expect((await stat(join(folder, left[0]!))).size).toBe(500);
  });
});

describe("readFileBytes", () => {
  test("reads whole files of any length", async () => {
    for (const length of [0, 1, 65_535, 65_536, 300_000]) {
      const written = Uint8Array.from({ length }, (_, i) => i);
      await writeFile(path, written);
      expect(await readFileBytes(path)).toEqual(written);
      expect(await readFileBytes(path, { maxBytes: length })).toEqual(written);
    }
  });

  test("refuses what is longer than allowed, devices included", async () => {
    await writeFile(path, bytes);
    const error = await fileError(readFileBytes(path, { maxBytes: 2 }));
    expect(error.message).toBe(`cannot read "${path}": it has 3 bytes, more than the 2 bytes allowed`);
    await truncate(path, 2 ** 40);
    expect((await fileError(readFileBytes(path))).message).toContain("1099511627776 bytes");
    const endless = await fileError(readFileBytes("/dev/zero", { maxBytes: 100_000 }));
    expect(endless.message).toContain("more than the 100000 bytes allowed");
  });

  test.skipIf(process.platform !== "linux")("reads files whose length the system does not tell", async () => {
    expect((await readFileBytes("/proc/self/status")).length).toBeGreaterThan(100);
    expect(await readFileBytes("/dev/null")).toEqual(new Uint8Array(0));
  });

  test("names path and reason", async () => {
    expect((await fileError(readFileBytes(path))).message).toBe(
      `cannot read "${path}": no such file or folder (ENOENT)`,
    );
    expect((await fileError(readFileBytes(folder))).message).toContain("it is a folder (EISDIR)");
    const fs = broken({ open: () => Promise.reject(failure("EACCES")) });
    expect((await fileError(readFileBytes(path, { fs }))).message).toContain("permission denied (EACCES)");
  });

  test("arguments", async () => {
    await expect(readFileBytes("")).rejects.toBeInstanceOf(ArgumentError);
    await expect(readFileBytes(path, { maxBytes: -1 })).rejects.toBeInstanceOf(ArgumentError);
  });
});
