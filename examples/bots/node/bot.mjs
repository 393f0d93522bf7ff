// Answers customers. Start it with: npm install; SECRET=whsec_… PORT=9000 node bot.mjs

import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.SECRET);

function answer({ type, data }) {
  const said = type === "kf.text" ? data.text.content : "";
  let lines = said.split("\n").filter(Boolean).slice(0, 5);
  if (type === "kf.event.enter_session" && data.event.welcome_code) lines = ["您好，请问有什么可以帮您？"];
  const transfer = said === "人工" ? { service_state: 2 } : null;
  return { replies: lines.map((content) => ({ msgtype: "text", text: { content } })), transfer };
}

const server = createServer(async (request, response) => {
  try {
    const message = webhook.verify(await text(request), request.headers);
    response.setHeader("content-type", "application/json").end(JSON.stringify(answer(message)));
  } catch (error) {
    console.error(error.message);
    response.writeHead(error.name === "WebhookVerificationError" ? 401 : 500).end();
  }
});

server.listen(Number(process.env.PORT), "127.0.0.1", () => console.log("listening", server.address().port));
