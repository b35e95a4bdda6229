#include "training/recipe.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <ostream>
#include <set>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "pipeline/engine/sha256.h"
#include "training/atomic_file.h"

namespace reenact {
namespace {

using nlohmann::json;

absl::Status Invalid(const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("recipe: ", what));
}

// The first key of `object` that is none of `known`; empty: none.
std::string UnknownKey(const json& object, const std::set<std::string>& known) {
  for (const auto& [key, value] : object.items()) {
    if (!known.contains(key)) return key;
  }
  return "";
}

bool IsScalar(const json& value) {
  return value.is_string() || value.is_number() || value.is_boolean();
}

bool IsValue(const json& value) {
  return IsScalar(value) || (value.is_array() && !value.empty() &&
                             std::all_of(value.begin(), value.end(), [](const json& item) {
                               return item.is_string() || item.is_number();
                             }));
}

std::string Text(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.dump();
  std::vector<std::string> items;
  for (const json& item : value) items.push_back(Text(item));
  return absl::StrJoin(items, ",");
}

bool IsFileName(const std::string& name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-';
  });
}

absl::StatusOr<RecipeStage> ParseStage(const json& entry, size_t index, bool smoke) {
  const std::string place = absl::StrCat("stage ", index + 1);
  if (!entry.is_object()) return Invalid(place + " is not an object");
  const std::string unknown = UnknownKey(entry, {"name", "stage", "options", "smoke"});
  if (!unknown.empty()) return Invalid(absl::StrCat(place, ": unknown key \"", unknown, "\""));
  if (!entry.contains("stage") || !entry["stage"].is_string()) {
    return Invalid(place + " does not say its \"stage\"");
  }
  RecipeStage stage;
  stage.command = entry["stage"].get<std::string>();
  stage.name = stage.command;
  if (entry.contains("name")) {
    if (!entry["name"].is_string()) return Invalid(place + ": \"name\" is not text");
    stage.name = entry["name"].get<std::string>();
  }
  if (!IsFileName(stage.name)) {
    return Invalid(
        absl::StrCat(place, ": name \"", stage.name, "\" must be letters, digits, - and _"));
  }
  for (const char* part : {"options", "smoke"}) {
    if (!entry.contains(part)) continue;
    const bool is_smoke = std::string_view(part) == "smoke";
    if (!entry[part].is_object()) {
      return Invalid(absl::StrCat(stage.name, ": \"", part, "\" is not an object"));
    }
    for (const auto& [key, value] : entry[part].items()) {
      if (!IsValue(value) && !(is_smoke && value.is_null())) {
        return Invalid(absl::StrCat(stage.name, ": ", key, " is ", value.dump(),
                                    ", must be text, a number, true, false or a list of these"));
      }
      if (is_smoke && !smoke) continue;
      if (value.is_null()) {
        stage.options.erase(key);
      } else {
        stage.options[key] = value;
      }
    }
  }
  return stage;
}

}  // namespace

absl::StatusOr<Recipe> ParseRecipe(const std::string& json_text, bool smoke) {
  const json root = json::parse(json_text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) return Invalid("not a JSON object");
  const std::string unknown = UnknownKey(root, {"stages"});
  if (!unknown.empty()) return Invalid(absl::StrCat("unknown key \"", unknown, "\""));
  if (!root.contains("stages") || !root["stages"].is_array() || root["stages"].empty()) {
    return Invalid("\"stages\" must be a list of at least one");
  }
  Recipe recipe;
  std::set<std::string> names;
  for (const json& entry : root["stages"]) {
    auto stage = ParseStage(entry, recipe.stages.size(), smoke);
    if (!stage.ok()) return stage.status();
    if (!names.insert(stage->name).second) {
      return Invalid(absl::StrCat("two stages are named \"", stage->name, "\""));
    }
    recipe.stages.push_back(*std::move(stage));
  }
  return recipe;
}

std::string FlagOf(const std::string& option) {
  return absl::StrCat("--", absl::StrReplaceAll(option, {{"_", "-"}}));
}

std::vector<std::string> StageArguments(const RecipeStage& stage,
                                        const std::function<bool(const std::string&)>& is_switch) {
  std::vector<std::string> arguments = {stage.command};
  for (const auto& [key, value] : stage.options.items()) {
    const std::string flag = FlagOf(key);
    if (value.is_boolean() && is_switch(flag)) {
      if (value.get<bool>()) arguments.push_back(flag);
    } else {
      arguments.push_back(absl::StrCat(flag, "=", Text(value)));
    }
  }
  return arguments;
}

std::vector<std::string> Fingerprints(const Recipe& recipe) {
  std::vector<std::string> prints;
  std::map<std::string, std::string> makers;  // output -> fingerprint of the stage that makes it
  for (const RecipeStage& stage : recipe.stages) {
    json record = {{"stage", stage.command}, {"options", stage.options}};
    for (const auto& [key, value] : stage.options.items()) {
      if (!value.is_string() || key == "out") continue;
      const auto maker = makers.find(value.get<std::string>());
      if (maker != makers.end()) record["reads"][key] = maker->second;
    }
    prints.push_back(Sha256Hex(record.dump()));
    if (stage.options.contains("out") && stage.options["out"].is_string()) {
      makers[stage.options["out"].get<std::string>()] = prints.back();
    }
  }
  return prints;
}

absl::StatusOr<RecipeSummary> RunRecipe(const Recipe& recipe, const std::string& folder,
                                        const StageRunner& run, std::ostream& log) {
  const std::string records = folder + "/finished";
  std::error_code error;
  std::filesystem::create_directories(records, error);
  if (error) return absl::UnavailableError(absl::StrCat(records, ": ", error.message()));
  const std::vector<std::string> prints = Fingerprints(recipe);
  RecipeSummary summary;
  for (size_t i = 0; i < recipe.stages.size(); ++i) {
    const RecipeStage& stage = recipe.stages[i];
    const std::string path = absl::StrCat(records, "/", stage.name, ".json");
    {
      std::ifstream in(path);
      std::ostringstream text;
      text << in.rdbuf();
      const json record = json::parse(text.str(), nullptr, /*allow_exceptions=*/false);
      if (record.is_object() && record.value("fingerprint", "") == prints[i]) {
        log << "=== " << stage.name << ": finished before" << std::endl;
        ++summary.skipped;
        continue;
      }
    }
    log << "=== " << stage.name << " (" << i + 1 << " of " << recipe.stages.size() << ")"
        << std::endl;
    const absl::Time begun = absl::Now();
    const absl::StatusOr<bool> finished = run(stage);
    if (!finished.ok()) {
      return absl::Status(finished.status().code(),
                          absl::StrCat("stage ", stage.name, ": ", finished.status().message()));
    }
    if (!*finished) return summary;
    ++summary.ran;
    const double seconds = absl::ToDoubleSeconds(absl::Now() - begun);
    const json record = {{"fingerprint", prints[i]},
                         {"stage", stage.command},
                         {"options", stage.options},
                         {"seconds", std::round(10 * seconds) / 10}};
    const absl::Status written = WriteFileAtomically(path, record.dump(2) + "\n");
    if (!written.ok()) return written;
  }
  summary.finished = true;
  return summary;
}

absl::StatusOr<LossTrend> ReadLossTrend(const std::string& folder) {
  std::ifstream in(folder + "/loss.csv");
  std::vector<double> losses;
  std::string line;
  std::getline(in, line);  // the header
  while (std::getline(in, line)) {
    const std::vector<std::string> cells = absl::StrSplit(line, ',');
    double loss = 0;
    if (cells.size() > 2 && absl::SimpleAtod(cells[2], &loss)) losses.push_back(loss);
  }
  if (losses.size() < 2) {
    return absl::NotFoundError(absl::StrCat(folder, "/loss.csv has less than two rows"));
  }
  const size_t fifth = std::max<size_t>(1, losses.size() / 5);
  LossTrend trend;
  for (size_t i = 0; i < fifth; ++i) {
    trend.first += losses[i] / static_cast<double>(fifth);
    trend.last += losses[losses.size() - 1 - i] / static_cast<double>(fifth);
  }
  return trend;
}

}  // namespace reenact
