#include "client/tool/pair_text.h"

#include <algorithm>
#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace reenact::tool {
namespace {

// Takes what is in quotes at the beginning of `text`, the quotes too. False: they do not end.
bool TakeQuoted(absl::string_view& text, std::string& value) {
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '"') {
      text.remove_prefix(i + 1);
      return true;
    }
    const bool escapes =
        text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == '"' || text[i + 1] == '\\');
    if (escapes) ++i;
    value += text[i];
  }
  return false;
}

}  // namespace

absl::StatusOr<std::vector<std::pair<std::string, std::string>>> SplitPair(absl::string_view text) {
  std::vector<std::pair<std::string, std::string>> parts;
  while (true) {
    text = absl::StripLeadingAsciiWhitespace(text);
    if (text.empty()) return parts;
    if (text.front() == ';') {
      text.remove_prefix(1);
      continue;
    }
    const absl::string_view rest = text;
    const size_t end_of_name = text.find_first_of("=;");
    const absl::string_view name = absl::StripAsciiWhitespace(text.substr(0, end_of_name));
    std::string value;
    const bool has_value = end_of_name != absl::string_view::npos && text[end_of_name] == '=';
    text.remove_prefix(has_value ? end_of_name + 1 : std::min(end_of_name, text.size()));
    text = absl::StripLeadingAsciiWhitespace(text);
    const bool is_quoted = has_value && !text.empty() && text.front() == '"';
    if (is_quoted && !TakeQuoted(text, value)) {
      return absl::InvalidArgumentError(absl::StrCat("'", rest, "' has a quote that does not end"));
    }
    const size_t end = std::min(text.find(';'), text.size());
    const absl::string_view unquoted =
        has_value ? absl::StripAsciiWhitespace(text.substr(0, end)) : absl::string_view();
    if (is_quoted && !unquoted.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", unquoted, "' follows the quotes of ", name,
                       "=, where ; or the end must be; a quote in quotes is \\\""));
    }
    if (!is_quoted) value = std::string(unquoted);
    if (has_value) text.remove_prefix(end);
    if (name.empty() || value.empty()) {
      const absl::string_view part = rest.substr(0, rest.size() - text.size());
      return absl::InvalidArgumentError(
          absl::StrCat("'", absl::StripAsciiWhitespace(part), "' is not NAME=VALUE"));
    }
    parts.emplace_back(name, std::move(value));
  }
}

}  // namespace reenact::tool
