// Shows the description of the API with Swagger UI. Nothing is loaded from elsewhere.

globalThis.SwaggerUIBundle({
  url: 'openapi.json',
  dom_id: '#api',
  deepLinking: true,
  // Otherwise a server on the internet is asked to check the description.
  validatorUrl: null,
})
