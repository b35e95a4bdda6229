// The table: metrics by rows, ways of making clips by columns.
#include <algorithm>
#include <cstddef>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "eval/commands.h"
#include "eval/files.h"
#include "eval/frechet.h"
#include "eval/protocol.h"
#include "eval/results_table.h"
#include "eval/summary.h"

namespace reenact {
namespace {

constexpr int kFullClips = 200, kQuickClips = 8, kDefaultFrames = 8;
// So many people a source is compared with at least: one in a hundred must count.
constexpr int kFullPeople = 100, kQuickPeople = 64;
constexpr int kFullCaptionGroups = 3, kQuickCaptionGroups = 1;
constexpr int kSheetColumns = 6;
constexpr char kJournal[] = "clips.jsonl";

struct TableFlags : EvalFlags {
  std::string protocols = "same,cross,cross-relative";
  int people = 0;  // 0: the default
};

torch::Tensor ToMatrix(const std::vector<Embedding>& embeddings) {
  std::vector<torch::Tensor> rows;
  for (const Embedding& embedding : embeddings) rows.push_back(torch::tensor(embedding));
  return torch::stack(rows);
}

// How far the CLIP features of a variant's frames lie from those of the driving frames; none: too
// few of them.
std::optional<double> ClipFrechet(const Variant& variant, const std::vector<Embedding>& driving) {
  std::vector<Embedding> generated;
  for (const ClipMeasures& clip : variant.clips) {
    generated.insert(generated.end(), clip.embeddings.begin(), clip.embeddings.end());
  }
  if (generated.size() < 2 || driving.size() < 2) return std::nullopt;
  const auto a = FitGaussian(ToMatrix(generated)), b = FitGaussian(ToMatrix(driving));
  if (!a.ok() || !b.ok()) return std::nullopt;
  const auto distance = FrechetDistance(*a, *b);
  return distance.ok() ? std::optional<double>(*distance) : std::nullopt;
}

ResultsTable MakeTable(const EvaluationResult& result, double captions) {
  ResultsTable table;
  table.columns = {"metric"};
  std::vector<std::vector<Metric>> columns;
  for (const Variant& variant : result.variants) {
    table.columns.push_back(variant.name);
    columns.push_back(Summarise(variant.clips, variant.aligned));
  }
  table.columns.emplace_back("goal");
  for (size_t m = 0; m < columns.front().size(); ++m) {
    std::vector<std::string> row = {columns.front()[m].title};
    for (const auto& column : columns) {
      row.push_back(FormatValue(column[m].value, column[m].digits));
    }
    row.push_back(columns.front()[m].goal);
    table.rows.push_back(std::move(row));
  }
  std::vector<std::string> frechet = {"Frechet distance of CLIP features to the driving frames"};
  for (const Variant& variant : result.variants) {
    frechet.push_back(FormatValue(ClipFrechet(variant, result.true_frames), 4));
  }
  frechet.emplace_back();
  table.rows.push_back(std::move(frechet));
  std::vector<std::string> retrieval(table.columns.size());
  retrieval.front() = "right caption among 64 by the CLIP towers, %";
  retrieval[1] = FormatValue(100 * captions, 1);
  retrieval.back() = "70 or more";
  table.rows.push_back(std::move(retrieval));
  return table;
}

// One line a clip and variant.
ResultsTable MakeClipTable(const EvaluationResult& result) {
  ResultsTable table;
  for (const Variant& variant : result.variants) {
    for (const ClipMeasures& clip : variant.clips) {
      const std::vector<Metric> metrics = Summarise({&clip, 1}, variant.aligned);
      if (table.columns.empty()) {
        table.columns = {"variant", "clip", "frames"};
        for (const Metric& metric : metrics) table.columns.push_back(metric.key);
      }
      std::vector<std::string> row = {variant.name, absl::StrCat(clip.index),
                                      absl::StrCat(clip.frames.size())};
      for (const Metric& metric : metrics) {
        row.push_back(metric.value.has_value() ? absl::StrFormat("%.6g", *metric.value) : "");
      }
      table.rows.push_back(std::move(row));
    }
  }
  return table;
}

std::string Failures(const EvaluationResult& result) {
  std::string text;
  for (const Variant& variant : result.variants) {
    if (variant.failures.empty()) continue;
    absl::StrAppend(&text, "\n", variant.name, ": ", variant.failures.size(),
                    " clips could not be made:\n");
    for (const std::string& failure : variant.failures) absl::StrAppend(&text, "- ", failure, "\n");
  }
  return text;
}

absl::Status WriteFiles(const std::string& out, const std::string& markdown,
                        const EvaluationResult& result) {
  if (auto status = WriteWhole(out + "/results.md", markdown); !status.ok()) return status;
  if (auto status = WriteWhole(out + "/clips.csv", ToCsv(MakeClipTable(result))); !status.ok()) {
    return status;
  }
  for (const Variant& variant : result.variants) {
    if (variant.samples.empty()) continue;
    const std::string name = absl::StrReplaceAll(variant.name, {{" ", "-"}, {":", "-"}});
    const absl::Status status =
        WriteSampleSheet(absl::StrCat(out, "/", name, ".png"), variant.samples);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status RunTable(const TableFlags& flags, const CommandContext& context) {
  EvaluationOptions options;
  const auto protocols = ParseProtocols(flags.protocols);
  if (!protocols.ok()) return protocols.status();
  options.protocols = *protocols;
  const auto plan = ParsePlan(flags.plan);
  if (!plan.ok()) return plan.status();
  const std::string methods = flags.methods.empty() ? "anchored" : flags.methods;
  const auto ways = ParseWays(methods, *plan);
  if (!ways.ok()) return ways.status();
  options.ways = *ways;
  const auto laboratory = OpenLaboratory(flags);
  if (!laboratory.ok()) return laboratory.status();
  options.held_out = laboratory->held_out;
  options.request = laboratory->request;
  options.num_clips = flags.clips > 0 ? flags.clips : flags.quick ? kQuickClips : kFullClips;
  options.held_out.num_frames = flags.frames > 0 ? flags.frames : kDefaultFrames;
  const int people = flags.people > 0 ? flags.people : flags.quick ? kQuickPeople : kFullPeople;
  options.held_out.num_people = std::max(options.num_clips, people);
  options.jobs = flags.jobs;
  options.threads = flags.threads;
  options.stop = context.stop;
  options.sample_columns = kSheetColumns;
  auto journal = OpenJournal(
      *laboratory, flags, kJournal,
      {{"protocols", flags.protocols},
       {"methods", methods},
       {"frames", absl::StrCat(options.held_out.num_frames)},
       {"people that sources are compared with", absl::StrCat(options.held_out.num_people)}});
  if (!journal.ok()) return journal.status();
  options.journal = &*journal;

  const auto result = Evaluate(*laboratory->engine, *laboratory->networks, options, context.report);
  if (!result.ok()) return result.status();
  context.report("comparing captions");
  const auto captions =
      CaptionRetrieval(options.held_out, *laboratory->networks,
                       flags.quick ? kQuickCaptionGroups : kFullCaptionGroups, flags.threads);
  if (!captions.ok()) return captions.status();

  const std::string markdown = absl::StrCat(
      "# Evaluation\n\n", Describe(*laboratory, flags),
      absl::StrFormat("%d clips of %d frames; sources compared with %d other people. Identity by "
                      "the bundle's CLIP image tower.\n\n",
                      result->num_clips, options.held_out.num_frames,
                      options.held_out.num_people - 1),
      result->num_clips < options.num_clips
          ? absl::StrCat("Stopped: ", options.num_clips, " clips were asked for.\n\n")
          : "",
      ToMarkdown(MakeTable(*result, *captions)), Failures(*result));
  std::cout << markdown << std::flush;
  return flags.out.empty() ? absl::OkStatus() : WriteFiles(flags.out, markdown, *result);
}

}  // namespace

EvalCommand AddTable(CLI::App& app) {
  auto flags = std::make_shared<TableFlags>();
  AddEvalOptions(app, *flags, "200, with --quick 8", "8, as in the paper");
  app.add_option("--protocols", flags->protocols,
                 "same (own portrait), cross (another person drives), cross-relative (with the "
                 "service's relative motion); joined by commas")
      ->capture_default_str();
  app.add_option("--people", flags->people,
                 "People that every source is compared with, itself included; the clips' at least "
                 "(default: 100, with --quick 64)")
      ->check(CLI::Range(2, 100000));
  return {&app, [flags](const CommandContext& context) { return RunTable(*flags, context); }};
}

}  // namespace reenact
