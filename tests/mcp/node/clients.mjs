// The official clients in TypeScript: what each sees of the hub, as one line of JSON.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client as OldClient } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as OldTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const [url, echo, chat] = process.argv.slice(2);
const requestInit = { headers: { Authorization: `Bearer ${process.env.JOYFULL_API_KEY}` } };
const name = { name: 'test', version: '1' };

async function seen(client, transport, call) {
  await client.connect(transport);
  const messages = [];
  const { tools } = await client.listTools();
  const echoed = await call({ name: echo, arguments: { text: 'hello' } }, {});
  const refused = await call({ name: echo, arguments: { text: 1 } }, {});
  const onprogress = progress => messages.push(progress.message ?? '');
  const said = await call({ name: chat, arguments: { messages: [] } }, { onprogress });
  await client.close();
  return {
    tools: tools.map(tool => tool.name),
    echoed: echoed.structuredContent,
    refused: [refused.isError, refused.structuredContent.code],
    said: said.content[0].text,
    shown: messages.join(''),
  };
}

const modern = new Client(name, { versionNegotiation: { mode: 'auto' } });
const old = new OldClient(name);
console.log(JSON.stringify({
  modern: await seen(modern, new StreamableHTTPClientTransport(new URL(`${url}/mcp`), { requestInit }),
    (asked, options) => modern.callTool(asked, options)),
  old: await seen(old, new OldTransport(new URL(`${url}/mcp`), { requestInit }),
    (asked, options) => old.callTool(asked, undefined, options)),
}));
