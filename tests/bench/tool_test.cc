// reenact-bench as a user meets it: what it prints, how it fails.
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "pipeline/engine/random_bundle.h"
#include "tests/bench/report.h"
#include "tests/client/subprocess.h"

namespace reenact::bench {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::Subprocess;
using testing::TemporaryFolder;

constexpr char kDemo[] = REENACT_SOURCE_DIR "/demo";
constexpr char kFaceModels[] = REENACT_SOURCE_DIR "/.deps/mediapipe";

struct Result {
  int exit_code = -1;
  std::string out, err;

  std::vector<Json> Lines() const {
    const auto results = ParseResults("output", out);
    EXPECT_TRUE(results.ok()) << out << err;
    return results.ok() ? *results : std::vector<Json>();
  }
};

Result Bench(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), REENACT_BENCH_PROGRAM);
  Subprocess process(arguments, {{"OMP_NUM_THREADS", "1"}});
  Result result;
  result.exit_code = process.Wait();
  result.out = process.out();
  result.err = process.err();
  return result;
}

// A bundle of random weights, small enough for every case.
class BenchToolTest : public ::testing::Test {
 protected:
  const std::string& Bundle() {
    if (bundle_.empty()) {
      bundle_ = folder_.File("bundle");
      EXPECT_TRUE(WriteRandomBundle(bundle_, SmallBundleConfig(), 1).ok());
    }
    return bundle_;
  }

  TemporaryFolder folder_;
  std::string bundle_;
};

TEST_F(BenchToolTest, EngineFieldsFitEachOther) {
  for (const std::string method : {"anchored", "override", "independent", "multidiffusion"}) {
    const Result result =
        Bench({"engine", "--bundle", Bundle(), "--frames", "7", "--steps", "3", "--repeat", "2",
               "--threads", "1", "--gemm-seconds", method == "anchored" ? "0.01" : "0", "--method",
               method, "--json"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const auto lines = result.Lines();
    ASSERT_EQ(lines.size(), 1u);
    const Json& json = lines.front();

    for (const char* field :
         {"bench", "config", "frames", "rows", "steps", "dtype", "method", "threads", "s_per_step",
          "s_median", "frames_per_s", "time_to_first_frame_s", "peak_rss_mb",
          "gflop_per_frame_step", "gflop_total", "gflop_per_s", "trace_bytes", "cores_had"}) {
      EXPECT_TRUE(json.contains(field)) << field;
    }
    const double seconds = json["s_per_step"].get<double>() * 3;
    EXPECT_EQ(json["method"], method);
    EXPECT_NEAR(json["frames_per_s"].get<double>() * seconds, 7, 1e-3);
    EXPECT_NEAR(json["gflop_per_s"].get<double>() * seconds / json["gflop_total"].get<double>(), 1,
                1e-4);
    if (method == "anchored") {
      for (const std::string of : {"gemm", "library_gemm"}) {
        const double peak = json[of + "_gflop_per_s"];
        const double share = json[of == "gemm" ? "share_of_gemm_peak" : "share_of_library_gemm"];
        EXPECT_NEAR(share * peak / json["gflop_per_s"].get<double>(), 1, 1e-2);
      }
      EXPECT_GE(json["gemm_gflop_per_s"], json["library_gemm_gflop_per_s"]);
    } else {
      EXPECT_FALSE(json.contains("share_of_gemm_peak"));
    }
    EXPECT_GE(json["s_median"], json["s_per_step"]);
    EXPECT_LE(json["time_to_first_frame_s"].get<double>(), seconds * 1.5);
    EXPECT_EQ(json["trace_bytes"].get<int64_t>() > 0, method == "anchored");
  }
}

TEST_F(BenchToolTest, CompareTellsTheSavedShares) {
  const Result result =
      Bench({"engine", "--bundle", Bundle(), "--frames", "7", "--steps", "2", "--repeat", "1",
             "--threads", "1", "--gemm-seconds", "0", "--compare",
             "override,override:bf16,anchored:torch,anchored:torch:bf16", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto lines = result.Lines();

  ASSERT_EQ(lines.size(), 7u);
  const Json& ratio = lines[5];
  EXPECT_EQ(ratio["bench"], "engine-compare");
  EXPECT_EQ(ratio["base"], "override fp32");
  EXPECT_EQ(ratio["other"], "anchored fp32 torch");
  // 7 frames at T = 4 are 2 rows: (2 - 1) / (2 * 4).
  EXPECT_DOUBLE_EQ(ratio["anchor_flop_share"], 0.125);
  EXPECT_NEAR(ratio["saved_flop_share"].get<double>(), 0.125, 0.04);
  EXPECT_NEAR(1 - 1 / ratio["speedup"].get<double>(), ratio["saved_time_share"].get<double>(),
              1e-3);
  EXPECT_LT(ratio["output_rel_diff"].get<double>(), 1e-3);
  EXPECT_LT(lines[6]["output_rel_diff"].get<double>(), 0.5);
  EXPECT_EQ(lines[1]["dtype"], "bf16");
  EXPECT_LT(lines[4]["output_rel_diff"].get<double>(), 0.5);
  // Another dtype is faster for other reasons than the FLOP saved.
  EXPECT_TRUE(ratio.contains("saved_time_of_flop"));
  EXPECT_FALSE(lines[6].contains("saved_time_of_flop"));
}

TEST_F(BenchToolTest, EngineDecodesInTheSameTime) {
  const Result result =
      Bench({"engine", "--bundle", Bundle(), "--frames", "4", "--steps", "2", "--repeat", "1",
             "--threads", "1", "--gemm-seconds", "0", "--executor", "torch", "--decode", "--json"});

  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.Lines().front()["decode"], true);
  EXPECT_EQ(result.Lines().front()["device"], "cpu");
  EXPECT_FALSE(result.Lines().front().contains("share_of_gemm_peak"));
}

TEST_F(BenchToolTest, LoadTellsTimesAndMemory) {
  const std::string source = std::string(kDemo) + "/portrait.png";
  const Result result = Bench({"load", "--bundle", Bundle(), "--source", source, "--threads", "1",
                               "--face-models", kFaceModels, "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto lines = result.Lines();

  ASSERT_EQ(lines.size(), 1u);
  const Json& json = lines[0];
  EXPECT_EQ(json["bench"], "load");
  EXPECT_EQ(json["image_size"], 64);
  EXPECT_EQ(json["dtype"], "bf16");
  EXPECT_EQ(json["frames"], 1);
  EXPECT_GT(json["weights_mb"], 0.1);
  EXPECT_LT(json["weights_mb"], 2);
  EXPECT_GT(json["load_s"], 0);
  EXPECT_GT(json["job_s"], 0);
  EXPECT_GT(json["rss_loaded_mb"], json["anonymous_loaded_mb"]);
  EXPECT_GE(json["peak_job_mb"], json["anonymous_loaded_mb"]);
}

TEST_F(BenchToolTest, DecodeFieldsFitEachOther) {
  const Result result = Bench({"decode", "--bundle", Bundle(), "--frames", "3", "--repeat", "1",
                               "--threads", "1", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto lines = result.Lines();

  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0]["dtype"], "fp32");
  EXPECT_EQ(lines[1]["dtype"], "bf16");
  EXPECT_EQ(lines[0]["image_size"], 64);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(
        lines[i]["frames_per_s"].get<double>() * lines[i]["ms_per_frame"].get<double>() / 1000, 1,
        1e-3);
  }
  EXPECT_EQ(lines[2]["bench"], "decode-compare");
}

TEST_F(BenchToolTest, CodecMeasuresEveryPart) {
  const Result result = Bench({"codec", "--size", "64", "--frames", "3", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;

  std::vector<std::string> parts;
  for (const Json& json : result.Lines()) {
    parts.push_back(json["what"]);
    EXPECT_EQ(json["frames"], 3);
    EXPECT_GT(json["ms_per_frame"].get<double>(), 0);
  }
  EXPECT_THAT(parts, ::testing::ElementsAre(
                         "H.264 encode", "H.264 decode", "VP9 encode", "VP9 decode", "AV1 encode",
                         "AV1 decode", "MJPEG encode", "MJPEG decode", "lossless H.264 encode",
                         "lossless H.264 decode", "crop and resize", "resize to a half",
                         "JPEG encode", "JPEG decode", "PNG encode", "PNG decode"));
}

TEST_F(BenchToolTest, LandmarksFindTheDemosFace) {
  if (!std::ifstream(absl::StrCat(kFaceModels, "/face_detection_short_range.tflite"))) {
    GTEST_SKIP() << "the face models are not there";
  }
  const Result result =
      Bench({"landmarks", "--video", absl::StrCat(kDemo, "/driving.mp4"), "--models", kFaceModels,
             "--frames", "3", "--size", "240", "--no-mediapipe", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto lines = result.Lines();

  ASSERT_EQ(lines.size(), 2u);
  for (const Json& json : lines) {
    EXPECT_EQ(json["frames"], 3);
    EXPECT_EQ(json["faces"], 3);
  }
}

TEST_F(BenchToolTest, FootageTimesEveryPartOfAFrame) {
  if (!std::ifstream(absl::StrCat(kFaceModels, "/face_detection_short_range.tflite"))) {
    GTEST_SKIP() << "the face models are not there";
  }
  const Result result =
      Bench({"footage", "--video", absl::StrCat(kDemo, "/driving.mp4"), "--models", kFaceModels,
             "--frames", "12", "--size", "160", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto lines = result.Lines();

  std::vector<std::string> parts;
  double sum = 0;
  for (const Json& json : lines) {
    EXPECT_EQ(json["frames"], 12);
    parts.push_back(json["what"]);
    if (json["what"] != "together") sum += json["ms_per_frame"].get<double>();
  }
  EXPECT_THAT(parts, ::testing::ElementsAre("decode", "cuts and face", "crop", "paste back",
                                            "encode", "together"));
  const Json& together = lines.back();
  EXPECT_NEAR(together["ms_per_frame"].get<double>(), sum, 0.01 * sum);
  EXPECT_EQ(together["faces"], 12);
  EXPECT_EQ(together["cuts"], 0);
  EXPECT_GT(together["peak_rss_mb"].get<double>(), 0);
}

TEST_F(BenchToolTest, LandmarksSayThatMediaPipeIsMissing) {
  if (!std::ifstream(absl::StrCat(kFaceModels, "/face_detection_short_range.tflite"))) {
    GTEST_SKIP() << "the face models are not there";
  }
  const Result result = Bench({"landmarks", "--models", kFaceModels, "--frames", "1", "--size",
                               "128", "--python", "/nonexistent/python"});

  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.err, AllOf(HasSubstr("/nonexistent/python"), HasSubstr("mediapipe")));
}

// A private server with random weights, eight frames and two steps a job.
class BenchServeTest : public BenchToolTest {
 protected:
  void SetUp() override {
    if (!std::ifstream(absl::StrCat(kFaceModels, "/face_detection_short_range.tflite"))) {
      GTEST_SKIP() << "the face models are not there";
    }
  }

  Result Serve(std::vector<std::string> arguments) {
    std::vector<std::string> all = {"serve",     "--bundle", Bundle(), "--face-models",
                                    kFaceModels, "--frames", "4",      "--steps",
                                    "2",         "--json"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return Bench(all);
  }
};

TEST_F(BenchServeTest, ClosedLoopCountsAddUp) {
  const Result result = Serve({"--clients", "1,2", "--jobs", "4", "--cancel-share", "0.25",
                               "--slow-readers", "0.25", "--slow-wait", "0.01"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto lines = result.Lines();

  ASSERT_EQ(lines.size(), 2u);
  for (const Json& json : lines) {
    EXPECT_EQ(json["jobs_sent"], 4);
    int outcomes = 0;
    for (const auto& [code, count] : json["outcomes"].items()) outcomes += count.get<int>();
    EXPECT_EQ(outcomes, 4);
    EXPECT_GE(json["jobs_done"], 3);  // one may be over before it is cancelled
    EXPECT_GE(json["frames_out"], 12);
    EXPECT_GT(json["first_frame_p50_s"].get<double>(), 0);
    EXPECT_LE(json["first_frame_p50_s"], json["job_p50_s"]);
    EXPECT_LE(json["job_p50_s"], json["job_p99_s"]);
    EXPECT_EQ(json["slow_readers"], 1);
    EXPECT_GT(json["server_peak_rss_mb"].get<double>(), 0);
    EXPECT_NEAR(json["jobs_per_s"].get<double>() * json["seconds"].get<double>(), 4, 1e-3);
  }
  EXPECT_EQ(lines[1]["clients"], 2);
}

TEST_F(BenchServeTest, OpenLoopSendsEveryArrival) {
  const Result result = Serve({"--rate", "20", "--jobs", "3", "--deadline", "60"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json json = result.Lines().front();

  EXPECT_EQ(json["jobs_sent"], 3);
  EXPECT_EQ(json["jobs_not_sent"], 0);
  EXPECT_EQ(json["rate"], 20);
  EXPECT_EQ(json["outcomes"]["OK"], 3);
}

TEST_F(BenchServeTest, ComparesAtOnceWithOneAfterAnother) {
  const Result result = Serve({"--clients", "2", "--jobs", "2", "--compare-sequential"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json json = result.Lines().front();

  EXPECT_EQ(json["bench"], "serve-compare");
  EXPECT_NEAR(json["speedup"].get<double>() * json["concurrent_s"].get<double>() /
                  json["sequential_s"].get<double>(),
              1, 1e-3);
}

TEST_F(BenchServeTest, ComparesLengthsOnServersOfTheirOwn) {
  const Result result = Bench({"serve", "--bundle", Bundle(), "--face-models", kFaceModels,
                               "--steps", "2", "--plan", "contiguous", "--frames", "6,12",
                               "--repeat", "2", "--compare-lengths", "--warm-up", "0", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto results = result.Lines();

  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[0]["bench"], "serve-lengths");
  EXPECT_EQ(results[0]["frames"], 6);
  EXPECT_EQ(results[0]["first_frame_ratio"], 1.0);
  EXPECT_EQ(results[0]["rss_ratio"], 1.0);
  EXPECT_EQ(results[1]["frames"], 12);
  EXPECT_NEAR(results[1]["first_frame_ratio"].get<double>(),
              results[1]["first_frame_s"].get<double>() / results[0]["first_frame_s"].get<double>(),
              1e-3);
  EXPECT_NEAR(results[1]["rss_ratio"].get<double>(),
              results[1]["server_peak_rss_mb"].get<double>() /
                  results[0]["server_peak_rss_mb"].get<double>(),
              1e-3);
}

TEST_F(BenchServeTest, LiveFieldsFitEachOther) {
  const Result result =
      Bench({"live", "--bundle", Bundle(), "--face-models", kFaceModels, "--steps", "2", "--frames",
             "12", "--fps", "50,100/3", "--repeat", "2", "--warm-up", "0", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto results = result.Lines();

  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[0]["fps"], 50.0);
  EXPECT_NEAR(results[1]["fps"].get<double>(), 33.3333, 1e-3);
  for (const Json& json : results) {
    EXPECT_EQ(json["bench"], "live");
    EXPECT_EQ(json["runs_done"], 2);
    EXPECT_EQ(json["frames_out"], 24);
    EXPECT_GT(json["time_to_first_frame_s"].get<double>(), 0);
    EXPECT_LE(json["lag_p50_s"].get<double>(), json["lag_p95_s"].get<double>());
    EXPECT_LE(json["lag_p95_s"].get<double>(), json["lag_max_s"].get<double>());
    EXPECT_GE(json["skipped_share"].get<double>(), 0);
    EXPECT_LT(json["skipped_share"].get<double>(), 1);
    EXPECT_GT(json["real_time_ratio"].get<double>(), 0);
  }
}

TEST_F(BenchToolTest, TableReadsWhatTheOthersPrint) {
  const Result codec = Bench({"codec", "--size", "32", "--frames", "2", "--json"});
  const std::string file = folder_.File("results.jsonl");
  std::ofstream(file) << "a heading\n" << codec.out;

  const Result table = Bench({"table", file});

  EXPECT_EQ(table.exit_code, 0) << table.err;
  EXPECT_THAT(table.out, AllOf(HasSubstr("**Media**"), HasSubstr("| H.264 encode | 32x32 | 2 |")));
}

struct WrongUsage {
  std::vector<std::string> arguments;
  std::vector<std::string> expected;  // in the message
};

void ExpectRefused(const std::vector<WrongUsage>& cases) {
  for (const WrongUsage& wrong : cases) {
    const Result result = Bench(wrong.arguments);

    std::string line;
    for (const std::string& argument : wrong.arguments) absl::StrAppend(&line, argument, " ");
    EXPECT_EQ(result.exit_code, 2) << line << "\n" << result.err;
    for (const std::string& part : wrong.expected) EXPECT_THAT(result.err, HasSubstr(part)) << line;
  }
}

TEST(WrongUsageTest, EngineNamesTheFlagAndWhatIsAllowed) {
  ExpectRefused({
      {{"engine", "--nonsense"}, {"--nonsense"}},
      {{"engine", "--config", "M/2"}, {"--config", "demo", "XL/2"}},
      {{"engine", "--steps", "1"}, {"--steps", "2"}},
      {{"engine", "--method", "magic"}, {"--method", "anchored", "multidiffusion"}},
      {{"engine", "--dtype", "fp16"}, {"--dtype", "fp32", "bf16"}},
      {{"engine", "--compare", "override"}, {"--compare", "two"}},
      {{"engine", "--compare", "override,soup"}, {"--compare", "soup", "anchored", "fp32"}},
      {{"engine", "--config", "demo", "--bundle", "x"}, {"--bundle", "--config"}},
      {{"engine", "--bundle", "/nonexistent"}, {"--bundle", "bundle.json"}},
      {{"engine", "--method", "multidiffusion", "--frames", "3"}, {"--frames", "8"}},
  });
}

TEST(WrongUsageTest, ServeNamesTheFlagAndWhatIsAllowed) {
  ExpectRefused({
      {{"serve", "--clients", "0"}, {"--clients", "1 to 1000"}},
      {{"serve", "--frames", "x"}, {"--frames", "x"}},
      {{"serve", "--samplers", "euler"}, {"--samplers", "ddim, ddpm, dpm-solver++"}},
      {{"serve", "--rate", "5", "--clients", "2"}, {"--rate", "--clients"}},
      {{"serve", "--rate", "5"}, {"--rate", "--jobs", "--duration"}},
      {{"serve", "--rate", "5", "--jobs", "2", "--compare-sequential"}, {"--compare-sequential"}},
      {{"serve", "--compare-sequential", "--cancel-share", "0.5"}, {"--compare-sequential"}},
      {{"serve", "--compare-lengths", "--server", "x:1"}, {"--compare-lengths", "--server"}},
      {{"live", "--fps", "25,fast"}, {"--fps", "fast"}},
      {{"live", "--server", "x:1", "--bundle", "y"}, {"--server", "--bundle"}},
      {{"live", "--driving", "/nonexistent.mp4"}, {"--driving", "/nonexistent.mp4"}},
      {{"serve", "--cancel-share", "0.6", "--slow-readers", "0.6"}, {"--cancel-share"}},
      {{"serve", "--server", "x:1", "--bundle", "y"}, {"--server", "--bundle"}},
      {{"serve", "--source", "/nonexistent.png"}, {"--source", "/nonexistent.png"}},
      {{"serve", "--driving", "/nonexistent.mp4"}, {"--driving", "/nonexistent.mp4"}},
      {{"serve", "--driving", absl::StrCat(kDemo, "/portrait.png"), "--frames", "8"},
       {"--driving"}},
  });
}

TEST(WrongUsageTest, OthersNameTheFlagAndWhatIsAllowed) {
  ExpectRefused({
      {{}, {"subcommand"}},
      {{"decode", "--dtype", "fp32,int8"}, {"--dtype", "int8", "fp32, bf16"}},
      {{"decode", "--decoder", "magic"}, {"--decoder", "cpu, libtorch"}},
      {{"decode", "--device", "gpu"}, {"--device \"gpu\"", "cpu, cuda, cuda:N or auto"}},
      {{"engine", "--device", "cuda:x"}, {"--device \"cuda:x\"", "cpu, cuda, cuda:N or auto"}},
      {{"gemm", "--dtype", "fp8"}, {"--dtype", "fp32, bf16"}},
      {{"landmarks", "--video", "/nonexistent.mp4"}, {"--video", "/nonexistent.mp4"}},
      {{"landmarks", "--models", "/nonexistent"}, {"--models", "/nonexistent"}},
      {{"footage", "--video", "/nonexistent.mp4"}, {"--video", "/nonexistent.mp4"}},
      {{"codec", "--size", "4"}, {"--size", "16"}},
      {{"table", "/nonexistent.jsonl"}, {"FILE", "/nonexistent.jsonl"}},
      {{"table", absl::StrCat(kDemo, "/merges.txt")}, {"merges.txt", "no result"}},
  });
}

}  // namespace
}  // namespace reenact::bench
