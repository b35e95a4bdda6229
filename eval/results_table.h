// Tables of results as markdown and as CSV. Pure functions, thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace reenact {

struct ResultsTable {
  std::vector<std::string> columns;  // the first is the name of the rows
  std::vector<std::vector<std::string>> rows;
};

// "-" for no value.
std::string FormatValue(const std::optional<double>& value, int digits);

// Columns padded to one width, numbers to the right.
std::string ToMarkdown(const ResultsTable& table);

// As RFC 4180, lines ended by "\n".
std::string ToCsv(const ResultsTable& table);

}  // namespace reenact
