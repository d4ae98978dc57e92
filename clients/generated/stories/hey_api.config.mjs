export default {
  input: "openapi.json",
  output: { path: "hey_api", postProcess: [] },
  plugins: ["@hey-api/client-fetch", "@hey-api/sdk", "@hey-api/typescript"],
};
