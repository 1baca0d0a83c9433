//! HTTP between programs that others wrote: load, raw dialogues, slow clients, a scanner, WebSocket, server-sent events, gRPC,
//! and large bodies.

mod bodies;
mod dialogues;
mod events;
mod grpc;
mod keepalive;
mod scan;
mod slow;
mod websocket;
