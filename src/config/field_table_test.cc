// Walks the declarations: what they promise holds for every field, also for those declared later.

#include "config/field_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <set>

#include "config/config_loader.h"

namespace phalanx {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr double kMaxInt = std::numeric_limits<int>::max();

// The JSON pointer of a field: "/BackendConfig/ModelDeployConfig/ModelConfig/0/worldSize".
Json::json_pointer PointerTo(const SectionDeclaration& section, const FieldDeclaration& field) {
  std::string text = section.place + (section.place.empty() ? "" : ".") + field.key;
  const std::pair<std::string, std::string> replacements[] = {
      {"[0]", ".0"}, {"[i]", ".0"}, {"<model type>", "qwen2"}};
  for (const auto& [from, to] : replacements) {
    if (size_t at = text.find(from); at != std::string::npos) text.replace(at, from.size(), to);
  }
  std::replace(text.begin(), text.end(), '.', '/');
  return Json::json_pointer("/" + text);
}

// A file that loads, with `value` at the field's place.
Json FileWith(const SectionDeclaration& section, const FieldDeclaration& field, const Json& value) {
  Json file;
  file["BackendConfig"]["ModelDeployConfig"]["ModelConfig"] = Json::array({{{"modelWeightPath", "/m"}}});
  file[PointerTo(section, field)] = value;
  return file;
}

bool IsList(const FieldDeclaration& field) {
  return field.default_value.is_array();
}

// `value` as deep in lists as the field wants it.
Json Wrapped(const FieldDeclaration& field, const Json& value) {
  if (!IsList(field)) return value;
  return field.type.starts_with("list of lists") ? Json::array({Json::array({value})}) : Json::array({value});
}

bool IsInt(const FieldDeclaration& field) {
  return field.type.find("integer") != std::string::npos;
}
bool IsNumber(const FieldDeclaration& field) {
  return IsInt(field) || field.type.find("number") != std::string::npos;
}

std::vector<Json> WrongTypes(const FieldDeclaration& field) {
  std::vector<Json> values = {nullptr, Json::object(), Json{{"a", 1}}};
  const bool is_bool = field.default_value.is_boolean();
  const bool is_text = field.type.find("text") != std::string::npos;
  if (!is_bool && !field.allowed.bools) values.push_back(Wrapped(field, true));
  if (!is_text) values.push_back(Wrapped(field, "text"));
  if (!is_text && !field.allowed.or_text) values.push_back(Wrapped(field, "1"));
  if (!IsNumber(field)) values.push_back(Wrapped(field, 1));
  if (IsInt(field) || !IsNumber(field)) values.push_back(Wrapped(field, 1.5));
  values.push_back(IsList(field) ? Json(1) : Json::array({1}));
  values.push_back(Json::array({Json::array({Json::array({1})})}));
  return values;
}

bool IsAlso(const AllowedValues& allowed, double value) {
  return std::find(allowed.also.begin(), allowed.also.end(), value) != allowed.also.end();
}

std::vector<Json> NumbersOutside(const FieldDeclaration& field) {
  std::vector<Json> values;
  const AllowedValues& allowed = field.allowed;
  auto add = [&](double value) {
    if (IsAlso(allowed, value)) return;
    values.push_back(Wrapped(field, IsInt(field) ? Json(static_cast<int64_t>(value)) : Json(value)));
  };
  if (allowed.min && !allowed.negative_is_zero) {
    add(allowed.min_is_excluded ? *allowed.min : *allowed.min - 1);
    add(*allowed.min - 1e6);
  }
  if (allowed.max) add(*allowed.max + 1);
  if (IsInt(field)) {
    add(kMaxInt + 1);
    values.push_back(Wrapped(field, std::numeric_limits<uint64_t>::max()));
    if (!allowed.negative_is_zero) values.push_back(Wrapped(field, std::numeric_limits<int64_t>::min()));
  }
  return values;
}

std::vector<Json> TextsOutside(const FieldDeclaration& field) {
  std::vector<Json> values;
  const AllowedValues& allowed = field.allowed;
  if (!allowed.one_of.empty()) {
    values.push_back("nonsense");
    values.push_back(allowed.one_of.back() + " ");
  }
  if (allowed.max_length) values.push_back(std::string(*allowed.max_length + 1, 'a'));
  if (allowed.text_check != nullptr) {
    for (const std::string& text :
         {std::string(5000, 'a'), std::string("a\x01"), std::string("!a"), std::string("/..")}) {
      if (!allowed.text_check(text)) values.push_back(Wrapped(field, text));
    }
    EXPECT_FALSE(values.empty()) << field.FullName();
  }
  return values;
}

std::vector<Json> ListsOfWrongLength(const FieldDeclaration& field) {
  std::vector<Json> values;
  if (!field.allowed.items) return values;
  for (size_t size : {field.allowed.items->first - 1, field.allowed.items->second + 1}) {
    if (size <= field.allowed.items->second + 1) values.push_back(Json(StringList(size, "name")));
  }
  return values;
}

template <class Visit>
void ForEachFileField(Visit visit) {
  for (const SectionDeclaration* section : AllSections()) {
    if (section == &EnvironmentSection()) continue;
    for (const FieldDeclaration& field : section->fields) visit(*section, field);
  }
}

void ExpectRefused(const SectionDeclaration& section, const FieldDeclaration& field, const Json& value) {
  SCOPED_TRACE(field.FullName() + " = " + DumpJson(value).substr(0, 100));
  auto loaded = ParseServeConfig(DumpJson(FileWith(section, field, value)), "config.json", {});
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(loaded.status().message(), HasSubstr("\n  " + field.FullName() + ": found "));
  EXPECT_THAT(loaded.status().message(), HasSubstr("; allowed: " + field.type));
}

TEST(FieldTable, EveryFieldRefusesWrongTypes) {
  ForEachFileField([](const SectionDeclaration& section, const FieldDeclaration& field) {
    for (const Json& value : WrongTypes(field)) ExpectRefused(section, field, value);
  });
}

TEST(FieldTable, EveryFieldRefusesValuesOutsideItsRange) {
  int refused = 0;
  ForEachFileField([&](const SectionDeclaration& section, const FieldDeclaration& field) {
    std::vector<Json> values;
    if (IsNumber(field)) values = NumbersOutside(field);
    if (field.type.find("text") != std::string::npos) values = TextsOutside(field);
    for (const Json& value : ListsOfWrongLength(field)) values.push_back(value);
    for (const Json& value : values) ExpectRefused(section, field, value);
    refused += !values.empty();
  });
  EXPECT_GT(refused, 120);
}

// The edges of every range, every name, and the values that are allowed beside it.
std::vector<Json> AllowedExamples(const FieldDeclaration& field) {
  const AllowedValues& allowed = field.allowed;
  std::vector<Json> values;
  auto number = [&](double value) {
    values.push_back(IsInt(field) ? Json(static_cast<int64_t>(value)) : Json(value));
  };
  if (allowed.min && !allowed.min_is_excluded) number(*allowed.min);
  if (allowed.max) number(*allowed.max);
  for (double value : allowed.also) number(value);
  for (const std::string& name : allowed.one_of) values.push_back(name);
  if (field.default_value.is_boolean()) values.insert(values.end(), {true, false});
  if (allowed.or_text) values.insert(values.end(), {"true", "false", "1", "0"});
  if (allowed.bools) values.insert(values.end(), {true, false});
  return values;
}

TEST(FieldTable, EveryFieldTakesWhatItAllows) {
  ForEachFileField([](const SectionDeclaration& section, const FieldDeclaration& field) {
    for (const Json& value : AllowedExamples(field)) {
      SCOPED_TRACE(field.FullName() + " = " + DumpJson(value));
      auto loaded =
          ParseServeConfig(DumpJson(FileWith(section, field, Wrapped(field, value))), "config.json", {});
      // A rule between fields, or "not in this version", may still refuse it, but not its own range.
      if (loaded.ok()) continue;
      EXPECT_THAT(loaded.status().message(), Not(HasSubstr("; allowed: " + field.type)));
    }
  });
}

TEST(FieldTable, EveryDefaultIsAllowed) {
  for (const SectionDeclaration* section : AllSections()) {
    for (const FieldDeclaration& field : section->fields) {
      if (field.allowed.required || !field.allowed.absent.empty()) continue;
      ServeConfig config;
      LoraModule module;
      ModelOptions options;
      void* section_struct = &config;
      if (section == &ServerSection()) section_struct = &config.server;
      if (section == &BackendSection()) section_struct = &config.backend;
      if (section == &DeploySection()) section_struct = &config.deploy;
      if (section == &ModelSection()) section_struct = &config.model;
      if (section == &PluginSection()) section_struct = &config.model.plugin_params;
      if (section == &ModelOptionsSection()) section_struct = &options;
      if (section == &LoraSection()) section_struct = &module;
      if (section == &ScheduleSection()) section_struct = &config.schedule;
      if (section == &LogSection()) section_struct = &config.log;
      if (section == &EnvironmentSection()) section_struct = &config.environment;
      if (field.key == "plugin_type") continue;  // empty: no plugins
      ConfigReport report;
      ReadField(field, field.default_value, field.member(section_struct), &report);
      EXPECT_TRUE(report.problems.empty()) << field.FullName() << ": " << report.problems.front().text;
      EXPECT_EQ(WriteField(field.member(section_struct)), field.default_value) << field.FullName();
    }
  }
}

TEST(FieldTable, DeclarationsAreComplete) {
  std::set<std::string> names;
  for (const SectionDeclaration* section : AllSections()) {
    for (const FieldDeclaration& field : section->fields) {
      EXPECT_TRUE(names.insert(field.FullName()).second) << field.FullName() << " is declared twice";
      EXPECT_FALSE(field.meaning.empty()) << field.FullName();
      EXPECT_EQ(field.state.kind == FieldState::kIgnored, !field.state.reason.empty()) << field.FullName();
    }
  }
}

TEST(AllowedValues, SaysWhatIsAllowed) {
  EXPECT_EQ(Between(1024, 65535).ToString(), "1024 to 65535");
  EXPECT_EQ(AtLeast(1).Also(-1).ToString(), "-1 or 1 to 2147483647");
  EXPECT_EQ(AboveUpTo(0, 1).ToString(), "above 0 up to 1");
  EXPECT_EQ(OneOf("a", "b", "c").ToString(), "\"a\", \"b\" or \"c\"");
  EXPECT_EQ(Path().Items(1, 3).ToString(), "a path of 1 to 4096 characters; 1 to 3 items");
  EXPECT_EQ(Between(-1, 1).Bools(-1, 0).ToString(), "-1 to 1, true or false");
  EXPECT_EQ(Any().ToString(), "");
}

TEST(TextChecks, FollowTheRules) {
  for (const char* good : {"a", "llama_65b", "SmolLM2-135M.Instruct", "7"})
    EXPECT_TRUE(IsModelName(good)) << good;
  for (const char* bad : {"", "-a", "a-", ".a", "a b", "a/b", "ä"}) EXPECT_FALSE(IsModelName(bad)) << bad;
  EXPECT_TRUE(IsModelName(std::string(256, 'a')));
  EXPECT_FALSE(IsModelName(std::string(257, 'a')));
  for (const char* good : {"/m", "models/x.gguf", "/a b/c+d", "./m", "a..b/c"})
    EXPECT_TRUE(IsWeightPath(good)) << good;
  for (const char* bad : {"", "../m", "/a/../b", "/a\n"}) EXPECT_FALSE(IsWeightPath(bad)) << bad;
  std::string deep;
  for (int i = 0; i < 32; ++i) deep += "/d";
  EXPECT_TRUE(IsWeightPath(deep));
  EXPECT_FALSE(IsWeightPath(deep + "/d"));
  EXPECT_FALSE(IsWeightPath("/" + std::string(256, 'a')));
  for (const char* good : {"a", "mindieservice_llm_engine"}) EXPECT_TRUE(IsBackendName(good)) << good;
  for (const char* bad : {"", "_a", "a_", "a__b", "A", "a1"}) EXPECT_FALSE(IsBackendName(bad)) << bad;
  EXPECT_TRUE(IsPluginList("mtp,prefix_cache"));
  EXPECT_TRUE(IsPluginList("mtp, splitfuse"));
  EXPECT_FALSE(IsPluginList("mtp,other"));
}

}  // namespace
}  // namespace phalanx
