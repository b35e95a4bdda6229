#include "tests/bench/report.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <ostream>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace reenact::bench {
namespace {

struct Column {
  std::string title;
  std::function<std::string(const Json&)> cell;
};

struct Table {
  std::string bench;
  std::string title;
  std::vector<Column> columns;
};

constexpr char kNothing[] = "-";

const Json* Find(const Json& result, const std::string& key) {
  const auto found = result.find(key);
  return found == result.end() || found->is_null() ? nullptr : &*found;
}

std::string Short(double value) {
  if (value == 0) return "0";
  const double size = std::abs(value);
  if (size >= 100) return absl::StrFormat("%.0f", value);
  if (size >= 10) return absl::StrFormat("%.1f", value);
  if (size >= 1) return absl::StrFormat("%.2f", value);
  return absl::StrFormat("%.3g", value);
}

std::string Text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_integer()) return absl::StrCat(value.get<int64_t>());
  if (value.is_number()) return Short(value.get<double>());
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_array()) {
    std::vector<std::string> parts;
    for (const Json& part : value) parts.push_back(Text(part));
    return absl::StrJoin(parts, ", ");
  }
  if (value.is_object()) {
    std::vector<std::string> parts;
    for (const auto& [key, part] : value.items())
      parts.push_back(absl::StrCat(key, " ", Text(part)));
    return absl::StrJoin(parts, ", ");
  }
  return kNothing;
}

Column Plain(const std::string& title, const std::string& key) {
  return {title, [key](const Json& result) {
            const Json* value = Find(result, key);
            return value == nullptr ? kNothing : Text(*value);
          }};
}

// A share as a percentage.
Column Percent(const std::string& title, const std::string& key) {
  return {title, [key](const Json& result) -> std::string {
            const Json* value = Find(result, key);
            if (value == nullptr || !value->is_number()) return kNothing;
            return absl::StrFormat("%.1f %%", 100 * value->get<double>());
          }};
}

// Several fields with "/" between them.
Column Joined(const std::string& title, const std::vector<std::string>& keys) {
  return {title, [keys](const Json& result) {
            std::vector<std::string> parts;
            for (const std::string& key : keys) {
              const Json* value = Find(result, key);
              parts.push_back(value == nullptr ? kNothing : Text(*value));
            }
            return absl::StrJoin(parts, " / ");
          }};
}

const std::vector<Table>& Tables() {
  static const auto* const tables = new std::vector<Table>{
      {"engine",
       "Engine",
       {Plain("config", "config"), Plain("method", "method"), Plain("dtype", "dtype"),
        Plain("executor", "executor"), Plain("frames", "frames"), Plain("rows", "rows"),
        Plain("steps", "steps"), Plain("threads", "threads"), Plain("s/step", "s_per_step"),
        Plain("frames/s", "frames_per_s"), Plain("first frame s", "time_to_first_frame_s"),
        Plain("GFLOP/s", "gflop_per_s"), Percent("of GEMM peak", "share_of_gemm_peak"),
        Percent("of library's GEMM", "share_of_library_gemm"), Plain("peak MB", "peak_rss_mb"),
        Plain("cores had", "cores_had")}},
      {"engine-compare",
       "Engine, side by side",
       {Plain("config", "config"), Plain("frames", "frames"), Plain("rows", "rows"),
        Plain("base", "base"), Plain("other", "other"), Plain("times as fast", "speedup"),
        Plain("median", "speedup_median"), Percent("FLOP saved", "saved_flop_share"),
        Percent("time saved", "saved_time_share"),
        Percent("time saved of FLOP saved", "saved_time_of_flop"),
        Plain("relative difference", "output_rel_diff")}},
      {"decode",
       "VAE decode",
       {Plain("config", "config"), Plain("picture", "image_size"), Plain("dtype", "dtype"),
        Plain("decoder", "decoder"), Plain("threads", "threads"), Plain("ms/frame", "ms_per_frame"),
        Plain("frames/s", "frames_per_s"), Plain("cores had", "cores_had")}},
      {"decode-compare",
       "VAE decode, side by side",
       {Plain("config", "config"), Plain("base", "base"), Plain("other", "other"),
        Plain("times as fast", "speedup"), Plain("median", "speedup_median")}},
      {"load",
       "A bundle from disk to its first job",
       {Plain("config", "config"), Plain("picture", "image_size"), Plain("dtype", "dtype"),
        Plain("threads", "threads"), Plain("weights MB", "weights_mb"), Plain("load s", "load_s"),
        Plain("processor s", "load_cpu_s"), Plain("loaded MB", "rss_loaded_mb"),
        Plain("peak while loading MB", "peak_load_mb"), Plain("frames", "frames"),
        Plain("steps", "steps"), Plain("job s", "job_s"), Plain("processor s", "job_cpu_s"),
        Plain("peak of the job MB", "peak_job_mb"),
        Plain("peak of the weights' size", "peak_of_weights")}},
      {"serve",
       "Service under load",
       {Plain("load", "load"), Plain("jobs", "jobs"), Plain("frames a job", "frames"),
        Plain("steps", "steps"), Plain("jobs/s", "jobs_per_s"), Plain("frames/s", "frames_per_s"),
        Joined("first frame s p50 / p95 / p99",
               {"first_frame_p50_s", "first_frame_p95_s", "first_frame_p99_s"}),
        Joined("job s p50 / p95 / p99", {"job_p50_s", "job_p95_s", "job_p99_s"}),
        Plain("goodput jobs/s", "goodput_jobs_per_s"), Plain("outcomes", "outcomes"),
        Plain("server peak MB", "server_peak_rss_mb")}},
      {"serve-compare",
       "Clients at once against one after another",
       {Plain("clients", "clients"), Plain("jobs", "jobs"), Plain("frames a job", "frames"),
        Plain("steps", "steps"), Plain("one after another s", "sequential_s"),
        Plain("at once s", "concurrent_s"), Plain("times as fast", "speedup"),
        Plain("median", "speedup_median")}},
      {"serve-lengths",
       "Clip lengths",
       {Plain("frames", "frames"), Plain("plan", "plan"), Plain("steps", "steps"),
        Plain("first frame s", "first_frame_s"), Plain("median", "first_frame_median_s"),
        Plain("times the first's", "first_frame_ratio"),
        Plain("median", "first_frame_ratio_median"), Plain("job s", "job_s"),
        Plain("server peak MB", "server_peak_rss_mb"), Plain("times the first's", "rss_ratio")}},
      {"live",
       "Live driving",
       {Plain("frames/s in", "fps"), Plain("frames", "frames"), Plain("steps", "steps"),
        Plain("skip", "skip"), Plain("first frame s", "time_to_first_frame_s"),
        Joined("lag s p50 / p95 / max", {"lag_p50_s", "lag_p95_s", "lag_max_s"}),
        Plain("lag at the end", "lag_end_s"), Plain("of real time", "real_time_ratio"),
        Percent("skipped", "skipped_share"), Plain("sent late s", "sent_late_max_s"),
        Plain("server peak MB", "server_peak_rss_mb")}},
      {"landmarks",
       "Landmarks",
       {Plain("what", "what"), Plain("picture", "size"), Plain("frames", "frames"),
        Plain("ms/frame", "ms_per_frame"), Plain("p95", "ms_p95"), Plain("faces found", "faces"),
        Plain("times MediaPipe's", "times_mediapipe")}},
      {"footage",
       "Footage",
       {Plain("what", "what"), Plain("picture", "size"), Plain("frames", "frames"),
        Plain("ms/frame", "ms_per_frame"), Plain("p95", "ms_p95"), Plain("faces found", "faces"),
        Plain("peak MB", "peak_rss_mb"), Plain("after a quarter", "early_peak_rss_mb")}},
      {"output",
       "Putting back and encoding",
       {Plain("picture", "size"), Plain("frames", "frames"), Plain("decode ms", "decode_ms"),
        Plain("one thread ms/frame", "one_thread_ms_per_frame"),
        Plain("own thread ms/frame", "own_thread_ms_per_frame"),
        Plain("speed-up", "speedup_median")}},
      {"codec",
       "Media",
       {Plain("what", "what"), Plain("picture", "size"), Plain("frames", "frames"),
        Plain("ms/frame", "ms_per_frame"), Plain("p95", "ms_p95")}},
      {"gemm",
       "Matrix product",
       {Plain("dtype", "dtype"), Plain("threads", "threads"), Plain("kernel", "kernel"),
        Plain("GFLOP/s", "gemm_gflop_per_s")}},
  };
  return *tables;
}

const Table* FindTable(const std::string& bench) {
  for (const Table& table : Tables()) {
    if (table.bench == bench) return &table;
  }
  return nullptr;
}

// A line of the eager PyTorch reference in the engine's words.
Json FromReference(const Json& line) {
  const auto get = [&line](const char* key) -> Json {
    const auto found = line.find(key);
    return found == line.end() ? Json() : *found;
  };
  const std::string what = get("what").is_string() ? get("what").get<std::string>() : "";
  std::string dtype = get("dtype").is_string() ? get("dtype").get<std::string>() : "";
  if (dtype == "float32") dtype = "fp32";
  if (dtype == "bfloat16") dtype = "bf16";
  Json result;
  result["config"] = get("config");
  result["dtype"] = dtype;
  result["threads"] = get("threads");
  result["frames_per_s"] = get("frames_per_s");
  result["cores_had"] = get("cores_had");
  if (what == "decode") {
    result["bench"] = "decode";
    result["decoder"] = "eager PyTorch";
    if (get("frames_per_s").is_number()) {
      result["ms_per_frame"] = Number(1000 / get("frames_per_s").get<double>());
    }
    return result;
  }
  result["bench"] = "engine";
  result["method"] = what;
  result["executor"] = "eager PyTorch";
  result["frames"] = get("N");
  result["rows"] = get("B");
  result["steps"] = get("steps");
  result["s_per_step"] = get("s_per_step");
  result["gflop_per_s"] = get("gflops");
  result["share_of_gemm_peak"] = get("of_gemm");
  result["peak_rss_mb"] = get("peak_rss_mb");
  return result;
}

std::string BenchOf(const Json& result) {
  const Json* bench = Find(result, "bench");
  return bench != nullptr && bench->is_string() ? bench->get<std::string>() : "";
}

std::string Row(const std::vector<std::string>& cells) {
  return absl::StrCat("| ", absl::StrJoin(cells, " | "), " |\n");
}

}  // namespace

void Report::Add(const Json& result) {
  if (style_ == Style::kJson) {
    out_ << result.dump() << std::endl;
    return;
  }
  const std::string bench = BenchOf(result);
  const Table* table = FindTable(bench);
  if (table == nullptr) {
    out_ << result.dump() << std::endl;
    return;
  }
  // As wide as the heading, at least 8.
  const auto pad = [](const std::string& text, const std::string& title) {
    const size_t width = std::max<size_t>(8, title.size());
    return text + std::string(text.size() < width ? width - text.size() : 0, ' ');
  };
  std::vector<std::string> titles, cells;
  for (const Column& column : table->columns) {
    titles.push_back(pad(column.title, column.title));
    cells.push_back(pad(column.cell(result), column.title));
  }
  if (bench != last_bench_) out_ << absl::StrJoin(titles, "  ") << "\n";
  out_ << absl::StrJoin(cells, "  ") << std::endl;
  last_bench_ = bench;
}

void Report::Write(std::string_view text) { out_ << text << std::flush; }

absl::StatusOr<std::vector<Json>> ParseResults(std::string_view source, const std::string& text) {
  const absl::string_view name(source.data(), source.size());
  std::vector<Json> results;
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    const absl::string_view stripped = absl::StripAsciiWhitespace(line);
    if (stripped.empty() || stripped.front() != '{') continue;
    Json result = Json::parse(stripped.begin(), stripped.end(), nullptr, false);
    if (result.is_discarded()) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": line ", number, " is not a JSON object"));
    }
    if (Find(result, "bench") == nullptr && Find(result, "what") != nullptr) {
      result = FromReference(result);
    }
    results.push_back(std::move(result));
  }
  if (results.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": there is no result in it"));
  }
  return results;
}

absl::StatusOr<std::string> MarkdownTables(const std::vector<Json>& results) {
  std::vector<const Table*> order;
  for (const Json& result : results) {
    const std::string bench = BenchOf(result);
    const Table* table = FindTable(bench);
    if (table == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          "a result has the \"bench\" \"", bench, "\", which is none of ",
          absl::StrJoin(Tables(), ", ",
                        [](std::string* out, const Table& known) { out->append(known.bench); })));
    }
    if (std::find(order.begin(), order.end(), table) == order.end()) order.push_back(table);
  }
  std::string text;
  for (const Table* table : order) {
    // Columns that no result fills are left out.
    std::vector<std::vector<std::string>> columns;
    std::vector<std::string> titles;
    for (const Column& column : table->columns) {
      std::vector<std::string> cells;
      for (const Json& result : results) {
        if (BenchOf(result) == table->bench) cells.push_back(column.cell(result));
      }
      if (std::all_of(cells.begin(), cells.end(),
                      [](const std::string& cell) { return cell == kNothing; })) {
        continue;
      }
      titles.push_back(column.title);
      columns.push_back(std::move(cells));
    }
    absl::StrAppend(&text, text.empty() ? "" : "\n", "**", table->title, "**\n\n", Row(titles),
                    Row(std::vector<std::string>(titles.size(), "---")));
    const size_t num_rows = columns.empty() ? 0 : columns.front().size();
    for (size_t row = 0; row < num_rows; ++row) {
      std::vector<std::string> cells;
      for (const auto& column : columns) cells.push_back(column[row]);
      absl::StrAppend(&text, Row(cells));
    }
  }
  return text;
}

Json Number(double value, int digits) {
  if (!std::isfinite(value)) return nullptr;
  double rounded = 0;
  if (!absl::SimpleAtod(absl::StrFormat("%.*g", digits, value), &rounded)) return nullptr;
  return rounded;
}

}  // namespace reenact::bench
