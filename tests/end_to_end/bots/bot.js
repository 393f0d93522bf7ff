// A bot that takes what the official library verifies with $SECRET, and says what became of each post.

const { createServer } = require("node:http");
const { Webhook, WebhookVerificationError } = require("standardwebhooks");

const webhook = new Webhook(process.env.SECRET);

function verdict(body, headers) {
  try {
    webhook.verify(body, headers);
    return "taken";
  } catch (error) {
    if (error instanceof WebhookVerificationError) return "refused";
    throw error;
  }
}

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const said = verdict(Buffer.concat(chunks).toString(), request.headers);
  console.log(said, request.headers["webhook-id"]);
  response.writeHead(said === "taken" ? 204 : 401).end();
});

server.listen(0, "127.0.0.1", () => console.log("listening", server.address().port));
