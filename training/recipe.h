// A recipe: every command from an empty folder to a bundle, as one JSON file.
//
//   {"stages": [{"name": "ae", "stage": "autoencoder", "options": {"data": "people", ...},
//                "smoke": {...}}, ...]}
//
// A stage is a sub-command of reenact-train; its options are the flags of that sub-command with
// underscores for dashes. `name` is unique and defaults to `stage`; `smoke` replaces or adds
// options in a quick run (null takes one away). Relative paths are taken from the working folder.
//
// A finished stage leaves finished/<name>.json in the working folder. It is not run again while its
// options, and those of the stages whose output it reads, stay what they were. A stage that was cut
// short goes on where it stopped, as its sub-command does.
//
// Runs on the calling thread.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace reenact {

struct RecipeStage {
  std::string name;
  std::string command;
  nlohmann::json options = nlohmann::json::object();
};

struct Recipe {
  std::vector<RecipeStage> stages;
};

// kInvalidArgument, naming the stage and the key: not JSON, a key nobody knows, a name given twice
// or unfit for a file, a value that no flag can hold.
absl::StatusOr<Recipe> ParseRecipe(const std::string& json_text, bool smoke);

// The command line of a stage, without the program: command, then --flag=value. A list becomes
// values joined by commas; true of a flag without value (`is_switch`) the flag alone, false
// nothing.
std::vector<std::string> StageArguments(const RecipeStage& stage,
                                        const std::function<bool(const std::string&)>& is_switch);

// The flag that an option is called on the command line: --latent-channels of latent_channels.
std::string FlagOf(const std::string& option);

// What a stage is made from, as a hash: its command, its options, and the fingerprints of the
// earlier stages whose `out` one of its options names.
std::vector<std::string> Fingerprints(const Recipe& recipe);

// Runs one stage in the working folder; false: it was stopped before its end.
using StageRunner = std::function<absl::StatusOr<bool>(const RecipeStage&)>;

struct RecipeSummary {
  int ran = 0, skipped = 0;
  bool finished = false;  // false: stopped
};

// Runs what is not finished, in order, and records what is. Errors of a stage carry its name.
absl::StatusOr<RecipeSummary> RunRecipe(const Recipe& recipe, const std::string& folder,
                                        const StageRunner& run, std::ostream& log);

// How a training's loss went, from the loss.csv in its folder.
struct LossTrend {
  double first = 0, last = 0;  // means over the first and the last fifth of the rows
};
// kNotFound without at least two rows.
absl::StatusOr<LossTrend> ReadLossTrend(const std::string& folder);

}  // namespace reenact
