// reenactd as a process: a server, and the signals that end it.
#pragma once

#include "server/config.h"
#include "server/server.h"

namespace reenact {

// Serves until the server stops by itself or a signal ends it; returns the exit status. Call it in
// the main thread before there are others: SIGTERM and SIGINT are blocked for all of them.
//
// SIGTERM or SIGINT: no new jobs, the running ones finish (ServerConfig::drain_timeout), then
// status 0; at once while the model is still being loaded. A second one: the process exits at once
// with status 1. Status 1 as well, with a line on standard error, if the server cannot start or the
// model cannot be loaded.
int RunServerProcess(const ServerConfig& config, Server::LoadEngine load_engine);

}  // namespace reenact
