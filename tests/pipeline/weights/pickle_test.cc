#include "pipeline/weights/pickle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace reenact {
namespace {

using std::string_literals::operator""s;
using ::testing::AllOf;
using ::testing::HasSubstr;
using Kind = PickleValue::Kind;

std::string Refusal(const std::string& pickle) {
  const auto graph = ReadPickle(pickle);
  EXPECT_FALSE(graph.ok());
  return std::string(graph.status().message());
}

// A graph points into its pickle, which therefore has a name in every test.
TEST(PickleTest, ReadsNumbersOfEveryForm) {
  const std::string pickle =
      "\x80\x02(K\x05M\x01\x02J\xFE\xFF\xFF\xFF\x8A\x00\x8A\x01\x80"s +
      "\x8A\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F\x88NG\xBF\xF8\x00\x00\x00\x00\x00\x00t."s;
  const auto graph = ReadPickle(pickle);
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto& items = graph->at(graph->root).items;
  ASSERT_EQ(items.size(), 9u);
  const int64_t expected[] = {5, 513, -2, 0, -128, INT64_MAX, 1};
  for (size_t i = 0; i < 7; ++i) EXPECT_EQ(graph->at(items[i]).integer, expected[i]) << i;
  EXPECT_EQ(graph->at(items[7]).kind, Kind::kNone);
  EXPECT_EQ(graph->at(items[8]).real, -1.5);
}

TEST(PickleTest, ReadsProtocol4) {
  // {"k": [b"v"]} with frames, short texts and memo opcodes.
  const std::string pickle =
      "\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94\x8C\x01k\x94]\x94"s + "C\x01v\x94" + "as.";
  const auto graph = ReadPickle(pickle);
  ASSERT_TRUE(graph.ok()) << graph.status();
  const PickleValue& dict = graph->at(graph->root);
  ASSERT_EQ(dict.items.size(), 2u);
  EXPECT_EQ(graph->at(dict.items[0]).text, "k");
  EXPECT_EQ(graph->at(graph->at(dict.items[1]).items[0]).text, "v");
}

// A list that holds itself, as Python can write one.
TEST(PickleTest, ACycleIsAGraph) {
  const std::string pickle = "\x80\x02]q\x00h\x00"s + "a.";
  const auto graph = ReadPickle(pickle);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->at(graph->root).items[0], graph->root);
}

TEST(PickleTest, UnknownClassesAndFunctionsBecomePlaceholders) {
  const std::string pickle =
      "\x80\x02"s + "cargparse\nNamespace\n)\x81}X\x02\x00\x00\x00lrK\x01sb."s;
  const auto graph = ReadPickle(pickle);
  ASSERT_TRUE(graph.ok()) << graph.status();
  const PickleValue& object = graph->at(graph->root);
  EXPECT_EQ(object.kind, Kind::kObject);
  EXPECT_EQ(DescribePickleValue(object), "argparse.Namespace(...)");
  EXPECT_EQ(graph->at(object.items[0]).text, "lr");
}

TEST(PickleTest, NamesThatRunCommandsAreRefused) {
  for (const char* name :
       {"os\nsystem", "posix\nsystem", "nt\nsystem", "subprocess\nPopen", "builtins\neval",
        "__builtin__\nexec", "builtins\n__import__", "sys\nmodules", "runpy\n_run_code",
        "importlib\nimport_module", "os.path\njoin", "pickle\nloads"}) {
    const std::string global = std::string("c") + name + "\n";
    EXPECT_THAT(Refusal("\x80\x02" + global + "X\x01\x00\x00\x00x\x85R."s), HasSubstr("hostile"))
        << name;
  }
  // By the stack, as protocol 4 does it; the name need not be called.
  EXPECT_THAT(Refusal("\x80\x04\x8C\x05posix\x8C\x06system\x93."s), HasSubstr("posix.system"));
}

TEST(PickleTest, DamageIsFoundWhereItIs) {
  EXPECT_THAT(Refusal("\x80\x02}"s), HasSubstr("without STOP"));
  EXPECT_THAT(Refusal("\x80\x02R."s), AllOf(HasSubstr("byte 2"), HasSubstr("stack is empty")));
  EXPECT_THAT(Refusal("\x80\x02h\x07."s), HasSubstr("memo has nothing at 7"));
  EXPECT_THAT(Refusal("\x80\x02r\xFF\xFF\xFF\xFF."s), HasSubstr("memo has no place"));
  EXPECT_THAT(Refusal("\x80\x02X\xFF\xFF\xFF\xFFx."s), HasSubstr("longer than the file"));
  EXPECT_THAT(Refusal("\x80\x02NN."s), HasSubstr("left over"));
  EXPECT_THAT(Refusal("\x80\x02t."s), HasSubstr("no MARK"));
  EXPECT_THAT(Refusal("\x80\x02K\x01K\x02"
                      "a."s),
              HasSubstr("adds an item to the number 1"));
  EXPECT_THAT(Refusal("\x80\x02(K\x01.t"s), HasSubstr("left over"));
  EXPECT_THAT(Refusal("\x80\x02(iposix\nsystem\n."s), HasSubstr("opcode 0x69"));
  EXPECT_THAT(Refusal("\x80\x09N."s), HasSubstr("protocol 9"));
  EXPECT_THAT(Refusal(""), HasSubstr("without STOP"));
}

// Each copies what the one before made: twice as much with every step.
TEST(PickleTest, GrowthIsBounded) {
  std::string pickle = "\x80\x02}q\x00"s;
  for (int i = 0; i < 64; ++i) pickle += "K\x01NsK\x02Ns";
  pickle += "0";
  for (int i = 0; i < 400'000; ++i) {
    pickle += "cx\nY\n)\x81h\x00"s + "b0";  // an object whose state is that dictionary
  }
  const auto graph = ReadPickle(pickle + "N.");
  EXPECT_EQ(graph.status().code(), absl::StatusCode::kResourceExhausted) << graph.status();
}

}  // namespace
}  // namespace reenact
