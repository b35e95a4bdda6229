// `table`: the README's performance tables from JSON lines.
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/bench/measure.h"
#include "tests/bench/report.h"
#include "tests/bench/subcommand.h"

namespace reenact::bench {
namespace {

absl::Status Run(const std::vector<std::string>& files, Report& report) {
  std::vector<Json> all;
  for (const std::string& file : files) {
    std::string text;
    if (file == "-") {
      std::ostringstream content;
      content << std::cin.rdbuf();
      text = content.str();
    } else {
      auto content = ReadFileBytes("FILE", file);
      if (!content.ok()) return content.status();
      text = *std::move(content);
    }
    auto results = ParseResults(file == "-" ? "standard input" : file, text);
    if (!results.ok()) return results.status();
    all.insert(all.end(), results->begin(), results->end());
  }
  const auto tables = MarkdownTables(all);
  if (!tables.ok()) return tables.status();
  report.Write(*tables);
  return absl::OkStatus();
}

}  // namespace

void AddTable(CLI::App& app, std::vector<Subcommand>& subcommands) {
  CLI::App* command = app.add_subcommand(
      "table", "Markdown tables from the JSON lines the other commands print with --json");
  const auto files = std::make_shared<std::vector<std::string>>();
  command->add_option("file", *files, "Files of JSON lines; - or none: standard input")
      ->type_name("FILE");
  subcommands.push_back({command, [files](Report& report) {
                           return Run(files->empty() ? std::vector<std::string>{"-"} : *files,
                                      report);
                         }});
}

}  // namespace reenact::bench
