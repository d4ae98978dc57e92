// Requests go to where this page came from, whatever address the document names: its policy allows nothing else.
fetch("/api/v1/openapi.json")
  .then((answer) => answer.json())
  .then((spec) =>
    SwaggerUIBundle({
      spec: { ...spec, servers: [{ url: window.location.origin }] },
      dom_id: "#swagger-ui",
      deepLinking: true,
      displayRequestDuration: true,
      docExpansion: "list",
      filter: true,
      persistAuthorization: false,
      defaultModelsExpandDepth: 0,
      tryItOutEnabled: true,
    }),
  )
  .catch((error) => {
    document.getElementById("swagger-ui").textContent = `The API document could not be loaded: ${error.message}`;
  });
