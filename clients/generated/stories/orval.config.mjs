const of = (mode) => ({
  input: { target: "openapi.json" },
  output: {
    mode,
    target: `orval/${mode}/api.ts`,
    client: "fetch",
    override: { mutator: { path: "orval_fetch.ts", name: "hubFetch" } },
  },
});

export default Object.fromEntries(["single", "split", "tags", "tags-split"].map((mode) => [mode, of(mode)]));
