// Walks what the entry points of package.json export, with the TypeScript compiler.
import { readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import ts from "typescript";

/** Something public whose docstring is not what the rules ask for. */
export interface Fault {
  /** File, name and, within it, the member: `src/layers.ts conv2d: option.stride`. */
  readonly where: string;
  readonly what: string;
}

/** The sources behind each entry point that has types, by its subpath. */
export function entryPoints(root: string): Map<string, string> {
  const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const found = new Map<string, string>();
  for (const [subpath, target] of Object.entries(exports)) {
    const types = typesOf(target);
    if (types !== undefined)
      found.set(subpath, resolve(root, types.replace("dist/types/", "").replace(/\.d\.ts$/, ".ts")));
  }
  return found;
}

/** The first `types` condition of a target, however deep. */
function typesOf(target: unknown): string | undefined {
  if (typeof target !== "object" || target === null) return undefined;
  for (const [condition, inner] of Object.entries(target)) {
    const types = condition === "types" && typeof inner === "string" ? inner : typesOf(inner);
    if (types !== undefined) return types;
  }
  return undefined;
}

/** A program of the sources behind the entry points, and of others. */
export function programOf(root: string, more: readonly string[] = []): ts.Program {
  const path = join(root, "tsconfig.json");
  const { config } = ts.readConfigFile(path, (name) => readFileSync(name, "utf8"));
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  return ts.createProgram([...entryPoints(root).values(), ...more], { ...options, noEmit: true });
}

type Documented = ts.Declaration & { readonly name?: ts.Node };

/** What is wrong with the docstrings of a program's entry points. */
export class Walk {
  readonly faults: Fault[] = [];
  /** Names looked at: a walk that finds nothing wrong because it found nothing is no walk. */
  readonly names = new Set<string>();
  readonly #root: string;
  readonly #entries: readonly string[];
  readonly #program: ts.Program;
  readonly #checker: ts.TypeChecker;
  readonly #seen = new Set<ts.Node>();
  readonly #exported = new Set<ts.Symbol>();
  readonly #thrown = new Map<ts.Node, Set<string>>();

  constructor(root: string, program: ts.Program, entries: readonly string[]) {
    this.#root = root;
    this.#entries = entries;
    this.#program = program;
    this.#checker = program.getTypeChecker();
  }

  run(): this {
    const symbols: ts.Symbol[] = [];
    for (const entry of this.#entries) {
      const file = this.#program.getSourceFile(entry);
      const module = file && this.#checker.getSymbolAtLocation(file);
      if (module === undefined) throw new Error(`${entry} is no module`);
      for (const symbol of this.#checker.getExportsOfModule(module)) symbols.push(this.#target(symbol));
    }
    for (const symbol of symbols) this.#exported.add(symbol);
    for (const symbol of this.#exported) {
      this.names.add(symbol.name);
      for (const declaration of symbol.declarations ?? []) this.#declaration(declaration, symbol.name);
    }
    return this;
  }

  #target(symbol: ts.Symbol): ts.Symbol {
    return symbol.flags & ts.SymbolFlags.Alias ? this.#checker.getAliasedSymbol(symbol) : symbol;
  }

  #fault(node: ts.Node, name: string, what: string): void {
    this.faults.push({ where: `${relative(this.#root, node.getSourceFile().fileName)} ${name}`, what });
  }

  /** Whether a file is one of the library's own. */
  #own(node: ts.Node): boolean {
    const path = relative(this.#root, node.getSourceFile().fileName);
    return !path.startsWith("..") && !path.includes("node_modules");
  }

  #declaration(node: Documented, name: string): void {
    if (this.#seen.has(node) || !this.#own(node) || isInternal(node)) return;
    this.#seen.add(node);
    // A variable's comment stands at its statement.
    if (description(node) === "") this.#fault(node, name, "has no description");
    if (isCallable(node)) this.#callable(node, name);
    else if (ts.isClassDeclaration(node) || ts.isInterfaceDeclaration(node)) {
      for (const clause of node.heritageClauses ?? []) this.#types(clause, name);
      for (const member of node.members) this.#member(member, name);
    } else if (ts.isTypeAliasDeclaration(node)) this.#types(node.type, name);
    else if (ts.isVariableDeclaration(node) && node.type) this.#types(node.type, name);
  }

  #member(node: ts.ClassElement | ts.TypeElement, owner: string): void {
    const modifiers = ts.canHaveModifiers(node) ? (ts.getModifiers(node) ?? []) : [];
    const hidden = modifiers.some(
      ({ kind }) => kind === ts.SyntaxKind.PrivateKeyword || kind === ts.SyntaxKind.ProtectedKeyword,
    );
    if (hidden || (node.name && ts.isPrivateIdentifier(node.name)) || isInternal(node)) return;
    if (ts.isConstructorDeclaration(node)) {
      this.#declaration(node, `${owner}: constructor`);
      return;
    }
    const name = `${owner}: ${node.name?.getText() ?? "(signature)"}`;
    // The field that tells descriptors apart says what it is by its type; a well-known symbol is documented where it is.
    const text = node.name?.getText() ?? "";
    if (text === "kind" || text === "[Symbol.dispose]" || text === "[Symbol.asyncDispose]") return;
    const overrides = modifiers.some(({ kind }) => kind === ts.SyntaxKind.OverrideKeyword);
    if (!overrides && description(node) === "") this.#fault(node, name, "has no description");
    if (isCallable(node)) this.#callable(node, name);
    else if ("type" in node && node.type) this.#types(node.type as ts.TypeNode, name);
  }

  #callable(node: ts.SignatureDeclaration, name: string): void {
    const documented = new Map(
      ts
        .getJSDocTags(node)
        .filter(ts.isJSDocParameterTag)
        .map((tag) => [tag.name.getText(), textOf(tag.comment)]),
    );
    for (const parameter of node.parameters) {
      // A destructured parameter goes by whatever name its tag has.
      const called = ts.isIdentifier(parameter.name)
        ? parameter.name.text
        : [...documented.keys()].find((tag) => !node.parameters.some(({ name }) => name.getText() === tag));
      if (!ts.isSetAccessor(node) && (called === undefined || !documented.get(called)?.trim()))
        this.#fault(node, name, `parameter ${parameter.name.getText()} has no @param`);
      if (parameter.type) this.#types(parameter.type, `${name}(${called ?? parameter.name.getText()})`);
    }
    for (const tag of documented.keys()) {
      const known = node.parameters.some(
        (parameter) => !ts.isIdentifier(parameter.name) || parameter.name.text === tag,
      );
      if (!known) this.#fault(node, name, `@param ${tag}: there is no such parameter`);
    }
    if (node.type) this.#types(node.type, name);
    this.#throws(node, name);
  }

  /** Docstrings of the types that a type names, and of the fields of those that have no name. */
  #types(node: ts.Node, name: string): void {
    if (ts.isTypeLiteralNode(node)) {
      for (const member of node.members) this.#member(member, name);
      return;
    }
    if (ts.isTypeReferenceNode(node) || ts.isExpressionWithTypeArguments(node)) {
      const found = this.#checker.getSymbolAtLocation(
        ts.isTypeReferenceNode(node) ? node.typeName : node.expression,
      );
      const symbol = found && this.#target(found);
      for (const declaration of symbol?.declarations ?? []) {
        if (ts.isTypeParameterDeclaration(declaration) || !this.#own(declaration)) continue;
        if (symbol && !this.#exported.has(symbol))
          this.#fault(node, name, `names ${symbol.name}, which no entry point exports`);
        this.#declaration(declaration, symbol?.name ?? name);
      }
    }
    ts.forEachChild(node, (child) => this.#types(child, name));
  }

  // ---- errors

  /** Every typed error that the code of a function can reach has a `@throws` with its name, and no other has. */
  #throws(node: ts.SignatureDeclaration, name: string): void {
    const tags = ts
      .getJSDocTags(node)
      .filter((tag) => tag.tagName.text === "throws")
      .map((tag) => textOf(ts.isJSDocThrowsTag(tag) && tag.typeExpression ? tag.getText() : tag.comment));
    for (const text of tags) {
      if (text.replace(/^\w+(, \w+)*/, "").trim() === "") this.#fault(node, name, `@throws ${text}: when?`);
    }
    const promised = new Set(tags.flatMap((text) => text.match(/\b[A-Z]\w*Error\b/g) ?? []));
    for (const error of this.thrownBy(node)) {
      if (!promised.has(error)) this.#fault(node, name, `can throw ${error}, which no @throws names`);
    }
  }

  /** Names of the typed errors that a function's code throws, as far as calls can be followed. */
  thrownBy(node: ts.Node): Set<string> {
    const known = this.#thrown.get(node);
    if (known) return known;
    const found = new Set<string>();
    this.#thrown.set(node, found);
    const body = (node as { readonly body?: ts.Node }).body;
    if (body === undefined) return found;
    const visit = (inner: ts.Node): void => {
      if (ts.isNewExpression(inner) && ts.isIdentifier(inner.expression)) {
        const { text } = inner.expression;
        if (/^(Argument|Format|Missing|File|Memory|State|NonFinite)Error$/.test(text)) found.add(text);
      }
      if (ts.isCallExpression(inner) || ts.isNewExpression(inner)) {
        const declaration = this.#checker.getResolvedSignature(inner)?.declaration;
        if (declaration && this.#own(declaration))
          for (const error of this.thrownBy(declaration)) found.add(error);
      }
      ts.forEachChild(inner, visit);
    };
    visit(body);
    return found;
  }
}

function isCallable(node: ts.Node): node is ts.SignatureDeclaration {
  return (
    ts.isFunctionDeclaration(node) ||
    ts.isMethodDeclaration(node) ||
    ts.isMethodSignature(node) ||
    ts.isCallSignatureDeclaration(node) ||
    ts.isConstructorDeclaration(node) ||
    ts.isAccessor(node)
  );
}

function isInternal(node: ts.Node): boolean {
  return ts.getJSDocTags(node).some((tag) => tag.tagName.text === "internal");
}

/** What a docstring says before its tags. */
function description(node: ts.Node): string {
  return ts
    .getJSDocCommentsAndTags(node)
    .filter(ts.isJSDoc)
    .map((doc) => textOf(doc.comment))
    .join("\n")
    .trim();
}

function textOf(comment: string | ts.NodeArray<ts.JSDocComment> | undefined): string {
  return ts.getTextOfJSDocComment(comment) ?? "";
}
