// Structured logs: one JSON object a line on standard error, with time, level, message and fields.
//
// Thread-safe. Never call with a lock held: writing may block.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "absl/status/status.h"

namespace reenact {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// kInvalidArgument: not debug, info, warning or error. Not thread-safe: call once, at start.
absl::Status SetLogLevel(std::string_view name);

using LogValue = std::variant<int64_t, double, bool, std::string>;
using LogField = std::pair<std::string_view, LogValue>;

void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {});
// A line about a job: the first fields are job_id and tenant.
void LogJob(LogLevel level, std::string_view job_id, std::string_view tenant,
            std::string_view message, std::initializer_list<LogField> fields = {});

}  // namespace reenact
