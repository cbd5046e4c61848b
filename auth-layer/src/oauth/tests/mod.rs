mod authorization;
mod properties;
mod redirect_uri;
mod token_request;
