#include "tests/bench/report.h"

#include <limits>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reenact::bench {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

Json EngineResult(double frames_per_s) {
  Json json;
  json["bench"] = "engine";
  json["config"] = "demo";
  json["method"] = "anchored";
  json["dtype"] = "fp32";
  json["frames_per_s"] = frames_per_s;
  json["share_of_gemm_peak"] = 0.5;
  return json;
}

TEST(ReportTest, WritesOneJsonObjectALine) {
  std::ostringstream out;
  Report report(out, Report::Style::kJson);

  report.Add(EngineResult(12.5));
  report.Add(EngineResult(13));

  const auto results = ParseResults("output", out.str());
  ASSERT_TRUE(results.ok());
  ASSERT_EQ(results->size(), 2u);
  EXPECT_EQ(results->front()["frames_per_s"], 12.5);
}

TEST(ReportTest, HeadsATableOnce) {
  std::ostringstream out;
  Report report(out, Report::Style::kTable);

  report.Add(EngineResult(12.5));
  report.Add(EngineResult(13));

  const std::string text = out.str();
  EXPECT_THAT(text, AllOf(HasSubstr("12.5"), HasSubstr("13.0"), HasSubstr("50.0 %")));
  EXPECT_EQ(text.find("frames/s"), text.rfind("frames/s"));
}

TEST(ParseResultsTest, PassesOverOtherLines) {
  const auto results = ParseResults("log", "starting\n\n{\"bench\":\"codec\"}\n");

  ASSERT_TRUE(results.ok());
  EXPECT_EQ(results->size(), 1u);
}

TEST(ParseResultsTest, NamesTheLineThatIsBroken) {
  const auto results = ParseResults("log", "{\"bench\":\"codec\"}\n{\"bench\":");

  EXPECT_EQ(results.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(results.status().message()), HasSubstr("log: line 2"));
  EXPECT_EQ(ParseResults("log", "nothing").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(MarkdownTest, MakesATableOfEachKind) {
  Json codec;
  codec["bench"] = "codec";
  codec["what"] = "JPEG encode";
  codec["ms_per_frame"] = 1.25;

  const auto text = MarkdownTables({EngineResult(12.5), codec, EngineResult(13)});

  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*text,
            "**Engine**\n\n"
            "| config | method | dtype | frames/s | of GEMM peak |\n"
            "| --- | --- | --- | --- | --- |\n"
            "| demo | anchored | fp32 | 12.5 | 50.0 % |\n"
            "| demo | anchored | fp32 | 13.0 | 50.0 % |\n"
            "\n**Media**\n\n"
            "| what | ms/frame |\n"
            "| --- | --- |\n"
            "| JPEG encode | 1.25 |\n");
}

TEST(MarkdownTest, TakesLinesOfTheReference) {
  const auto results =
      ParseResults("peer", R"({"what":"anchored","config":"demo","T":8,"B":8,"N":57,"steps":10,)"
                           R"("dtype":"bfloat16","threads":2,"s_per_step":0.5,"frames_per_s":11.4})"
                           "\n");
  ASSERT_TRUE(results.ok());

  const auto text = MarkdownTables(*results);

  ASSERT_TRUE(text.ok());
  EXPECT_THAT(*text, AllOf(HasSubstr("eager PyTorch"), HasSubstr("bf16"), HasSubstr("| 57 | 8 |"),
                           HasSubstr("11.4")));
}

TEST(MarkdownTest, RefusesAnUnknownKind) {
  Json unknown;
  unknown["bench"] = "soup";

  const auto text = MarkdownTables({unknown});

  EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(text.status().message()), AllOf(HasSubstr("soup"), HasSubstr("engine")));
}

TEST(NumberTest, IsShortAndNeverNotANumber) {
  EXPECT_EQ(Number(1.0 / 3, 4).dump(), "0.3333");
  EXPECT_TRUE(Number(std::numeric_limits<double>::quiet_NaN()).is_null());
  EXPECT_TRUE(Number(std::numeric_limits<double>::infinity()).is_null());
}

}  // namespace
}  // namespace reenact::bench
