// `figures`: the paper's Figure 5, Figure 7 and Table 2 with this bundle.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "eval/commands.h"
#include "eval/consistency.h"
#include "eval/files.h"
#include "eval/guidance_value.h"
#include "eval/protocol.h"
#include "eval/results_table.h"
#include "eval/scene_recognition.h"

namespace reenact {
namespace {

constexpr int kFullClips = 50, kQuickClips = 4;  // the paper: 50
constexpr int kShortest = 16, kLongest = 64, kLengthStep = 16;
constexpr int kFullVideos = 200, kQuickVideos = 32;
constexpr int kVideoFrames = 16, kQuickVideoFrames = 8;
constexpr int kGuidanceClips = 64, kQuickGuidanceClips = 8;
constexpr int kGuidanceFrames = 16;
constexpr int kTimestepPoints = 20, kQuickTimestepPoints = 10;
constexpr uint64_t kGuidanceStream = 7;  // set apart from the noise of jobs

struct FigureFlags : EvalFlags {
  std::vector<std::string> only;
};

bool Wanted(const FigureFlags& flags, const std::string& name) {
  return flags.only.empty() ||
         std::find(flags.only.begin(), flags.only.end(), name) != flags.only.end();
}

double MeanOf(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? std::nan("") : sum / static_cast<double>(values.size());
}

// Of the mean of `values`.
double StandardError(const std::vector<double>& values) {
  const double mean = MeanOf(values), count = static_cast<double>(values.size());
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return count > 1 ? std::sqrt(squares / (count - 1) / count) : std::nan("");
}

std::string MeanAndError(const std::vector<double>& values) {
  const std::string mean = absl::StrFormat("%.4f", MeanOf(values));
  if (values.size() < 2) return mean;
  return absl::StrCat(mean, absl::StrFormat(" +- %.4f", StandardError(values)));
}

// Says at which lengths `anchored` is below every other method.
std::string OrderSentence(const ConsistencyOptions& options,
                          const std::vector<std::vector<ConsistencyCell>>& cells) {
  const auto anchored =
      std::find(options.methods.begin(), options.methods.end(), LongVideoMethod::kAnchored);
  if (anchored == options.methods.end() || options.methods.size() < 2) return "";
  const auto a = static_cast<size_t>(anchored - options.methods.begin());
  std::string below, above;
  for (size_t l = 0; l < options.lengths.size(); ++l) {
    bool least = true;
    for (size_t m = 0; m < cells.size(); ++m) {
      least &= m == a || MeanOf(cells[a][l].self_csim) < MeanOf(cells[m][l].self_csim);
    }
    absl::StrAppend(least ? &below : &above, " ", options.lengths[l]);
  }
  return absl::StrCat("\nThe paper's order, anchored below all others, holds at frames:",
                      below.empty() ? " none" : below,
                      above.empty() ? "" : absl::StrCat("; not at:", above), ".\n");
}

absl::StatusOr<std::string> Figure5(const FigureFlags& flags, const Laboratory& laboratory,
                                    HeldOutOptions held_out, const CommandContext& context) {
  ConsistencyOptions options;
  const auto methods = ParseMethods(
      flags.methods.empty() ? "anchored,multidiffusion,overlapped,independent" : flags.methods);
  if (!methods.ok()) return methods.status();
  options.methods = *methods;
  const int longest = flags.frames > 0 ? flags.frames : kLongest;
  for (int length = std::min(kShortest, longest); length <= longest; length += kLengthStep) {
    options.lengths.push_back(length);
  }
  options.num_clips = flags.clips > 0 ? flags.clips : flags.quick ? kQuickClips : kFullClips;
  options.held_out = held_out;
  options.held_out.num_frames = options.lengths.back();
  options.held_out.num_people = options.num_clips;
  options.request = laboratory.request;
  options.jobs = flags.jobs;
  options.threads = flags.threads;
  options.stop = context.stop;
  const auto cells =
      MeasureConsistency(*laboratory.engine, *laboratory.networks, options, context.report);
  if (!cells.ok()) return cells.status();

  ResultsTable table, csv;
  table.columns = {"method"};
  csv.columns = {"method",         "frames",       "clips",         "self_csim",
                 "standard_error", "least_cosine", "driving_least", "neighbour_change"};
  Plot plot;
  plot.title = "Self-CSIM against length";
  plot.x_label = "frames";
  plot.y_label = "Self-CSIM (lower is better)";
  plot.y_from = 0;
  for (const int length : options.lengths) {
    table.columns.push_back(absl::StrCat(length, " frames"));
  }
  for (size_t m = 0; m < options.methods.size(); ++m) {
    const std::string name = MethodWord(options.methods[m]);
    std::vector<std::string> row = {name};
    PlotSeries series;
    series.name = name;
    for (size_t l = 0; l < options.lengths.size(); ++l) {
      const ConsistencyCell& cell = (*cells)[m][l];
      const double mean = MeanOf(cell.self_csim);
      row.push_back(MeanAndError(cell.self_csim));
      series.points.emplace_back(options.lengths[l], mean);
      csv.rows.push_back(
          {name, absl::StrCat(options.lengths[l]), absl::StrCat(cell.self_csim.size()),
           absl::StrFormat("%.6f", mean),
           cell.self_csim.size() < 2 ? "" : absl::StrFormat("%.6f", StandardError(cell.self_csim)),
           absl::StrFormat("%.6f", MeanOf(cell.least_cosine)),
           absl::StrFormat("%.6f", MeanOf(cell.driving_cosine)),
           absl::StrFormat("%.6f", MeanOf(cell.neighbour_change))});
    }
    table.rows.push_back(std::move(row));
    plot.series.push_back(std::move(series));
  }
  if (!flags.out.empty()) {
    if (auto status = WritePlot(flags.out + "/figure5.png", plot); !status.ok()) return status;
    if (auto status = WriteWhole(flags.out + "/figure5.csv", ToCsv(csv)); !status.ok()) {
      return status;
    }
  }
  return absl::StrCat("## Figure 5: Self-CSIM against length, ", options.num_clips,
                      " clips driven by their own person (mean +- standard error)\n\n",
                      ToMarkdown(table), OrderSentence(options, *cells));
}

absl::StatusOr<std::string> Figure7(const FigureFlags& flags, const Laboratory& laboratory,
                                    HeldOutOptions held_out, const CommandContext& context) {
  const BundleConfig& config = laboratory.networks->bundle().config;
  const std::vector<GuidanceSignals> signals =
      AllGuidanceSignals(config.sdit.source != SourceTokens::kNone);
  const int count = flags.quick ? kQuickTimestepPoints : kTimestepPoints;
  std::vector<int64_t> timesteps;
  for (int k = 0; k < count; ++k) {
    timesteps.push_back((2 * k + 1) * config.num_train_steps / (2 * count));
  }
  const int clips = flags.clips > 0 ? flags.clips
                    : flags.quick   ? kQuickGuidanceClips
                                    : kGuidanceClips;
  held_out.num_frames = std::max(kGuidanceFrames, static_cast<int>(config.sdit.num_frames));
  held_out.num_people = clips;
  const auto errors = MeasureGuidance(*laboratory.networks, held_out, clips, signals, timesteps,
                                      flags.seed + kGuidanceStream, flags.threads, context.report);
  if (!errors.ok()) return errors.status();

  ResultsTable table;
  table.columns = {"timestep"};
  Plot plot;
  plot.title = "Error with guidance over error without";
  plot.x_label = "timestep";
  plot.y_label = "MSE / MSE unguided";
  for (size_t s = 1; s < signals.size(); ++s) {
    table.columns.emplace_back(signals[s].name);
    PlotSeries series;
    series.name = signals[s].name;
    for (size_t k = 0; k < timesteps.size(); ++k) {
      series.points.emplace_back(static_cast<double>(timesteps[k]),
                                 (*errors)[s][k] / (*errors)[0][k]);
    }
    plot.series.push_back(std::move(series));
  }
  table.columns.emplace_back("MSE unguided");
  for (size_t k = 0; k < timesteps.size(); ++k) {
    std::vector<std::string> row = {absl::StrCat(timesteps[k])};
    for (const PlotSeries& series : plot.series) {
      row.push_back(absl::StrFormat("%.3f", series.points[k].second));
    }
    row.push_back(absl::StrFormat("%.5f", (*errors)[0][k]));
    table.rows.push_back(std::move(row));
  }
  if (!flags.out.empty()) {
    if (auto status = WritePlot(flags.out + "/figure7.png", plot); !status.ok()) return status;
    if (auto status = WriteWhole(flags.out + "/figure7.csv", ToCsv(table)); !status.ok()) {
      return status;
    }
  }
  return absl::StrCat("## Figure 7: what each signal is worth, ", clips,
                      " clips (error of the predicted noise over that of the same network told "
                      "nothing)\n\n",
                      ToMarkdown(table));
}

absl::StatusOr<std::string> Table2(const FigureFlags& flags, const Laboratory& laboratory,
                                   HeldOutOptions held_out, const CommandContext& context) {
  held_out.num_people = flags.clips > 0 ? std::max(flags.clips, 2)
                        : flags.quick   ? kQuickVideos
                                        : kFullVideos;
  held_out.num_frames = flags.quick ? kQuickVideoFrames : kVideoFrames;
  const auto separations =
      MeasureSeparation(*laboratory.networks, held_out, flags.threads, context.report);
  if (!separations.ok()) return separations.status();
  ResultsTable table;
  table.columns = {"vectors", "Davies-Bouldin (lower)", "Calinski-Harabasz (higher)"};
  for (const Separation& separation : *separations) {
    table.rows.push_back({separation.name, absl::StrFormat("%.3f", separation.davies_bouldin),
                          absl::StrFormat("%.1f", separation.calinski_harabasz)});
  }
  if (!flags.out.empty()) {
    if (auto status = WriteWhole(flags.out + "/table2.csv", ToCsv(table)); !status.ok()) {
      return status;
    }
  }
  return absl::StrCat("## Table 2: telling ", held_out.num_people, " videos of ",
                      held_out.num_frames, " frames apart\n\n", ToMarkdown(table));
}

absl::Status RunFigures(const FigureFlags& flags, const CommandContext& context) {
  const auto held_out = HeldOutFrom(flags);
  if (!held_out.ok()) return held_out.status();
  if (!flags.out.empty()) {
    if (auto status = MakeFolder(flags.out); !status.ok()) return status;
  }
  const auto laboratory = OpenLaboratory(flags);
  if (!laboratory.ok()) return laboratory.status();

  std::string markdown = absl::StrCat("# Figures\n\n", Describe(*laboratory, flags));
  std::cout << markdown << std::flush;
  struct Part {
    const char* name;
    absl::StatusOr<std::string> (*make)(const FigureFlags&, const Laboratory&, HeldOutOptions,
                                        const CommandContext&);
  };
  for (const Part& part :
       {Part{"table2", Table2}, Part{"figure7", Figure7}, Part{"figure5", Figure5}}) {
    if (!Wanted(flags, part.name)) continue;
    const auto text = part.make(flags, *laboratory, *held_out, context);
    if (!text.ok()) return text.status();
    absl::StrAppend(&markdown, "\n", *text);
    std::cout << "\n" << *text << std::flush;
  }
  return flags.out.empty() ? absl::OkStatus() : WriteWhole(flags.out + "/figures.md", markdown);
}

}  // namespace

EvalCommand AddFigures(CLI::App& app) {
  auto flags = std::make_shared<FigureFlags>();
  CLI::App* command = app.add_subcommand(
      "figures",
      "The paper's Figure 5 (Self-CSIM against length), Figure 7 (value of each signal by "
      "timestep) and Table 2 (telling videos apart)");
  AddEvalOptions(*command, *flags, "figure5 50, figure7 64, table2 200; with --quick 4, 8, 32",
                 "of figure5 the longest, 64");
  command->add_option("--only", flags->only, "figure5, figure7, table2")
      ->check(CLI::IsMember({"figure5", "figure7", "table2"}))
      ->delimiter(',');
  return {command, [flags](const CommandContext& context) { return RunFigures(*flags, context); }};
}

}  // namespace reenact
