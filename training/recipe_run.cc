#include "training/recipe_run.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "pipeline/engine/bundle.h"
#include "training/recipe.h"
#include "training/stages.h"

namespace reenact {
namespace {

// A sub-command ready to run.
struct ParsedStage {
  std::unique_ptr<CLI::App> app;
  std::vector<Subcommand> stages;
};

absl::StatusOr<ParsedStage> Parse(const RecipeStage& stage) {
  ParsedStage parsed{std::make_unique<CLI::App>("stage"), {}};
  AddAllStages(*parsed.app, parsed.stages);
  const auto found = std::find_if(
      parsed.stages.begin(), parsed.stages.end(),
      [&](const Subcommand& candidate) { return candidate.command->get_name() == stage.command; });
  const auto invalid = [&](const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat("recipe: ", stage.name, ": ", what));
  };
  if (found == parsed.stages.end()) {
    return invalid(absl::StrCat("there is no stage \"", stage.command, "\""));
  }
  const CLI::App* command = found->command;
  for (const auto& [key, value] : stage.options.items()) {
    if (command->get_option_no_throw(FlagOf(key)) == nullptr) {
      return invalid(absl::StrCat("unknown option \"", key, "\" of stage \"", stage.command, "\""));
    }
  }
  std::vector<std::string> arguments = StageArguments(stage, [&](const std::string& flag) {
    return command->get_option_no_throw(flag)->get_items_expected_max() == 0;
  });
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  try {
    parsed.app->parse(std::move(arguments));
  } catch (const CLI::Error& error) {
    return invalid(error.what());
  }
  return parsed;
}

absl::Status CheckResults(const Recipe& recipe, bool smoke) {
  for (const RecipeStage& stage : recipe.stages) {
    const std::string out = stage.options.value("out", "");
    if (const auto trend = ReadLossTrend(out); trend.ok()) {
      std::cout << absl::StrFormat("%s: loss %.4g -> %.4g", stage.name, trend->first, trend->last)
                << std::endl;
      if (smoke && !(trend->last < trend->first)) {
        return absl::InternalError(absl::StrCat("the loss of ", stage.name, " did not fall"));
      }
    }
    if (stage.command == "bundle") {
      const auto bundle = ReadBundle(out);
      if (!bundle.ok()) return bundle.status();
      std::cout << stage.name << ": " << bundle->config.name << " in " << out << ", sha256 "
                << bundle->sha256 << std::endl;
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunRecipeFile(const RecipeFlags& flags) {
  std::ifstream in(flags.config, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) return absl::NotFoundError(absl::StrCat(flags.config, " cannot be read"));
  const auto recipe = ParseRecipe(text.str(), flags.smoke);
  if (!recipe.ok()) return recipe.status();
  for (const RecipeStage& stage : recipe->stages) {
    if (const auto parsed = Parse(stage); !parsed.ok()) return parsed.status();
  }

  std::error_code error;
  std::filesystem::create_directories(flags.work, error);
  if (!error) std::filesystem::current_path(flags.work, error);
  if (error) return absl::InvalidArgumentError(absl::StrCat(flags.work, ": ", error.message()));
  const auto run = [&](const RecipeStage& stage) -> absl::StatusOr<bool> {
    const auto parsed = Parse(stage);
    if (!parsed.ok()) return parsed.status();
    for (const Subcommand& candidate : parsed->stages) {
      if (!candidate.command->parsed()) continue;
      const absl::Status status = candidate.run({flags.threads, flags.stop, nullptr, flags.device});
      if (!status.ok()) return status;
    }
    return flags.stop == nullptr || !flags.stop->load();
  };
  const auto summary = RunRecipe(*recipe, ".", run, std::cout);
  if (!summary.ok()) return summary.status();
  if (!summary->finished) {
    std::cout << "stopped; the same command goes on from here" << std::endl;
    return absl::OkStatus();
  }
  std::cout << summary->ran << " stages run, " << summary->skipped << " finished before"
            << std::endl;
  return CheckResults(*recipe, flags.smoke);
}

}  // namespace reenact
