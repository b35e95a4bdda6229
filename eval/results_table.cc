#include "eval/results_table.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace reenact {
namespace {

std::string CsvField(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

std::string CsvLine(const std::vector<std::string>& fields) {
  std::string line;
  for (size_t i = 0; i < fields.size(); ++i) {
    absl::StrAppend(&line, i == 0 ? "" : ",", CsvField(fields[i]));
  }
  return line + "\n";
}

}  // namespace

std::string FormatValue(const std::optional<double>& value, int digits) {
  return value.has_value() ? absl::StrFormat("%.*f", digits, *value) : "-";
}

std::string ToMarkdown(const ResultsTable& table) {
  std::vector<size_t> widths;
  for (const std::string& column : table.columns)
    widths.push_back(std::max<size_t>(column.size(), 3));
  for (const auto& row : table.rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  const auto line = [&widths](const std::vector<std::string>& fields) {
    std::string text = "|";
    for (size_t i = 0; i < fields.size(); ++i) {
      const std::string pad(widths[i] - fields[i].size(), ' ');
      absl::StrAppend(&text, " ", i == 0 ? "" : pad, fields[i], i == 0 ? pad : "", " |");
    }
    return text + "\n";
  };
  std::string text = line(table.columns);
  for (size_t i = 0; i < widths.size(); ++i) {
    absl::StrAppend(&text, i == 0 ? "| " : " ", std::string(widths[i] - (i == 0 ? 0 : 1), '-'),
                    i == 0 ? " |" : ": |");
  }
  text += "\n";
  for (const auto& row : table.rows) text += line(row);
  return text;
}

std::string ToCsv(const ResultsTable& table) {
  std::string text = CsvLine(table.columns);
  for (const auto& row : table.rows) text += CsvLine(row);
  return text;
}

}  // namespace reenact
