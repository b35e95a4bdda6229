// Results: JSON lines, and the same as a table for people or for a README.
//
// A result is an object with a field "bench" that says which table it belongs to (report.cc lists
// tables, columns and fields). Lines of the eager PyTorch reference, which have "what" instead, go
// to the engine's table.
#pragma once

#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace reenact::bench {

// Fields keep their order.
using Json = nlohmann::ordered_json;

// Writes each result as it comes. Owned by one thread.
class Report {
 public:
  enum class Style { kJson, kTable };

  // `out` must outlive the object.
  Report(std::ostream& out, Style style) : out_(out), style_(style) {}

  void Add(const Json& result);
  // Text as it is, whatever the style.
  void Write(std::string_view text);

 private:
  std::ostream& out_;
  Style style_;
  std::string last_bench_;
};

// JSON lines to objects; lines that do not begin with '{' (a log, a heading) are passed over.
// kInvalidArgument names `source` and the line that is not JSON; also if there is no result at all.
absl::StatusOr<std::vector<Json>> ParseResults(std::string_view source, const std::string& text);

// One Markdown table for each kind of result, in the order of their first appearance.
// kInvalidArgument: a result is of no known kind.
absl::StatusOr<std::string> MarkdownTables(const std::vector<Json>& results);

// As a JSON number of at most `digits` significant digits; null if it is not finite.
Json Number(double value, int digits = 6);

}  // namespace reenact::bench
