// `texts`: how much of what texts and edits say shows.
#include <iostream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "eval/commands.h"
#include "eval/files.h"
#include "eval/results_table.h"
#include "eval/text_effect.h"

namespace reenact {
namespace {

constexpr int kPeople = 32, kQuickPeople = 4, kFrames = 2;

absl::Status RunTexts(const EvalFlags& flags, const CommandContext& context) {
  const auto laboratory = OpenLaboratory(flags);
  if (!laboratory.ok()) return laboratory.status();
  TextEffectOptions options{.held_out = laboratory->held_out,
                            .request = laboratory->request,
                            .jobs = flags.jobs,
                            .threads = flags.threads,
                            .stop = context.stop};
  options.held_out.num_people = flags.clips > 0 ? flags.clips
                                : flags.quick   ? kQuickPeople
                                                : kPeople;
  options.held_out.num_frames = flags.frames > 0 ? flags.frames : kFrames;
  const auto effects =
      MeasureTextEffects(*laboratory->engine, *laboratory->networks, options, context.report);
  if (!effects.ok()) return effects.status();

  ResultsTable table = {{"change", "text", "cosine", "edit", "cosine"}, {}};
  for (const TextEffect& effect : *effects) {
    table.rows.push_back({effect.name, FormatValue(effect.text.share(), 2),
                          FormatValue(effect.text.cosine(), 2), FormatValue(effect.edit.share(), 2),
                          FormatValue(effect.edit.cosine(), 2)});
  }
  const std::string markdown = absl::StrCat(
      "# What texts change\n\n", Describe(*laboratory, flags), "\n", options.held_out.num_people,
      " people in ", options.held_out.num_frames,
      " frames: the share of the true change that shows (1 = all of it), and the cosine "
      "of the two changes (1 = nothing else changes).\n\n",
      ToMarkdown(table));
  std::cout << markdown << std::flush;
  if (flags.out.empty()) return absl::OkStatus();
  if (auto status = WriteWhole(flags.out + "/texts.csv", ToCsv(table)); !status.ok()) return status;
  return WriteWhole(flags.out + "/texts.md", markdown);
}

}  // namespace

EvalCommand AddTexts(CLI::App& app) {
  auto flags = std::make_shared<EvalFlags>();
  CLI::App* command = app.add_subcommand(
      "texts",
      "How much of a change of glasses, hair, shirt or background shows when a text or an edit "
      "says so. --guidance is for the texts alone");
  AddEvalOptions(*command, *flags, "32; with --quick 4", "2");
  return {command, [flags](const CommandContext& context) { return RunTexts(*flags, context); }};
}

}  // namespace reenact
