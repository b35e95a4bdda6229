// `figures`: the paper's Figure 5, Figure 7 and Table 2 with this bundle.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
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
constexpr char kFigure5Methods[] =
    "anchored:central-random,anchored:contiguous,multidiffusion,independent";
constexpr char kFigure5Journal[] = "figure5.jsonl";
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

// What the clips of one way and length measured, in the order of the clips.
struct Cell {
  std::vector<double> self_csim, least_cosine, driving_cosine, neighbour_change;
};

// [way][length]
std::vector<std::vector<Cell>> CellsOf(const std::vector<ConsistencyRecord>& records,
                                       const ConsistencyOptions& options) {
  std::vector<std::vector<Cell>> cells(options.ways.size(),
                                       std::vector<Cell>(options.lengths.size()));
  for (const ConsistencyRecord& record : records) {
    for (size_t w = 0; w < cells.size(); ++w) {
      for (size_t l = 0; l < cells[w].size(); ++l) {
        const std::optional<ConsistencyMeasures>& measures = record[w][l];
        if (!measures.has_value()) continue;
        cells[w][l].self_csim.push_back(measures->self_csim);
        cells[w][l].least_cosine.push_back(measures->least_cosine);
        cells[w][l].driving_cosine.push_back(measures->driving_cosine);
        cells[w][l].neighbour_change.push_back(measures->neighbour_change);
      }
    }
  }
  return cells;
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

// Other ways' Self-CSIM less that of `way`, clip by clip: what the clips have in common cancels, so
// it is surer than the difference of the means. And at which lengths all others are above.
std::string Comparison(const ConsistencyOptions& options,
                       const std::vector<std::vector<Cell>>& cells, size_t way) {
  ResultsTable table;
  table.columns = {absl::StrCat("Self-CSIM less that of ", options.ways[way].name)};
  std::string below, above;
  for (const int length : options.lengths) {
    table.columns.push_back(absl::StrCat(length, " frames"));
  }
  std::vector<bool> least(options.lengths.size(), true);
  for (size_t w = 0; w < cells.size(); ++w) {
    if (options.ways[w].method == LongVideoMethod::kAnchored) continue;
    std::vector<std::string> row = {options.ways[w].name};
    for (size_t l = 0; l < options.lengths.size(); ++l) {
      std::vector<double> differences = cells[w][l].self_csim;
      for (size_t i = 0; i < differences.size(); ++i) {
        differences[i] -= cells[way][l].self_csim[i];
      }
      row.push_back(MeanAndError(differences));
      if (!(MeanOf(differences) > 0)) least[l] = false;
    }
    table.rows.push_back(std::move(row));
  }
  for (size_t l = 0; l < options.lengths.size(); ++l) {
    absl::StrAppend(least[l] ? &below : &above, " ", options.lengths[l]);
  }
  return absl::StrCat("\n", ToMarkdown(table), "\nThe paper's order, ", options.ways[way].name,
                      " below all windows, holds at frames:", below.empty() ? " none" : below,
                      above.empty() ? "" : absl::StrCat("; not at:", above), ".\n");
}

std::string Comparisons(const ConsistencyOptions& options,
                        const std::vector<std::vector<Cell>>& cells) {
  std::string text;
  const auto anchored = [](const Way& way) { return way.method == LongVideoMethod::kAnchored; };
  if (std::all_of(options.ways.begin(), options.ways.end(), anchored)) return text;
  for (size_t w = 0; w < options.ways.size(); ++w) {
    if (anchored(options.ways[w])) text += Comparison(options, cells, w);
  }
  return text;
}

absl::StatusOr<std::string> Figure5(const FigureFlags& flags, const Laboratory& laboratory,
                                    const CommandContext& context) {
  ConsistencyOptions options;
  const std::string methods = flags.methods.empty() ? kFigure5Methods : flags.methods;
  const auto ways = ParseWays(methods, laboratory.request.plan);
  if (!ways.ok()) return ways.status();
  options.ways = *ways;
  const int longest = flags.frames > 0 ? flags.frames : kLongest;
  for (int length = std::min(kShortest, longest); length <= longest; length += kLengthStep) {
    options.lengths.push_back(length);
  }
  options.num_clips = flags.clips > 0 ? flags.clips : flags.quick ? kQuickClips : kFullClips;
  options.held_out = laboratory.held_out;
  options.held_out.num_frames = options.lengths.back();
  options.held_out.num_people = options.num_clips;  // each drives himself
  options.request = laboratory.request;
  options.jobs = flags.jobs;
  options.threads = flags.threads;
  options.stop = context.stop;
  auto journal = OpenJournal(laboratory, flags, kFigure5Journal,
                             {{"methods", methods}, {"longest clip", absl::StrCat(longest)}});
  if (!journal.ok()) return journal.status();
  options.journal = &*journal;
  const auto records =
      MeasureConsistency(*laboratory.engine, *laboratory.networks, options, context.report);
  if (!records.ok()) return records.status();
  const std::vector<std::vector<Cell>> cells = CellsOf(*records, options);

  ResultsTable table, csv;
  table.columns = {"method"};
  csv.columns = {"method",         "frames",       "clips",         "self_csim",
                 "standard_error", "least_cosine", "driving_least", "neighbour_change"};
  Plot plot;
  plot.title = "Self-CSIM against length (lower is better)";
  plot.x_label = "frames";
  plot.y_from = 0;
  for (const int length : options.lengths) {
    table.columns.push_back(absl::StrCat(length, " frames"));
  }
  for (size_t w = 0; w < options.ways.size(); ++w) {
    const std::string& name = options.ways[w].name;
    std::vector<std::string> row = {name};
    PlotSeries series;
    series.name = name;
    for (size_t l = 0; l < options.lengths.size(); ++l) {
      const Cell& cell = cells[w][l];
      const double mean = MeanOf(cell.self_csim), error = StandardError(cell.self_csim);
      row.push_back(MeanAndError(cell.self_csim));
      series.points.emplace_back(options.lengths[l], mean);
      series.errors.push_back(error);
      csv.rows.push_back({name, absl::StrCat(options.lengths[l]),
                          absl::StrCat(cell.self_csim.size()), absl::StrFormat("%.6f", mean),
                          cell.self_csim.size() < 2 ? "" : absl::StrFormat("%.6f", error),
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
  const auto done = static_cast<int>(records->size());
  return absl::StrCat("## Figure 5: Self-CSIM against length, ", done,
                      " clips driven by their own person (mean +- standard error)\n\n",
                      done < options.num_clips ? absl::StrCat("Stopped: ", options.num_clips,
                                                              " clips were asked for.\n\n")
                                               : "",
                      ToMarkdown(table), Comparisons(options, cells));
}

absl::StatusOr<std::string> Figure7(const FigureFlags& flags, const Laboratory& laboratory,
                                    const CommandContext& context) {
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
  HeldOutOptions held_out = laboratory.held_out;
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
                                   const CommandContext& context) {
  HeldOutOptions held_out = laboratory.held_out;
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
  const auto laboratory = OpenLaboratory(flags);
  if (!laboratory.ok()) return laboratory.status();

  std::string markdown = absl::StrCat("# Figures\n\n", Describe(*laboratory, flags));
  std::cout << markdown << std::flush;
  struct Part {
    const char* name;
    absl::StatusOr<std::string> (*make)(const FigureFlags&, const Laboratory&,
                                        const CommandContext&);
  };
  for (const Part& part :
       {Part{"table2", Table2}, Part{"figure7", Figure7}, Part{"figure5", Figure5}}) {
    if (!Wanted(flags, part.name)) continue;
    const auto text = part.make(flags, *laboratory, context);
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
