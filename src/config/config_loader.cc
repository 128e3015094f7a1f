#include "config/config_loader.h"

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "config/config_file.h"
#include "config/cross_checks.h"
#include "config/environment_reader.h"
#include "config/json_text.h"
#include "config/section_reader.h"

namespace phalanx {
namespace {

namespace fs = std::filesystem;

bool Exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

std::string ParentFolder(const fs::path& path) {
  std::error_code error;
  fs::path absolute = fs::absolute(path, error);
  return (error ? path : absolute).lexically_normal().parent_path().string();
}

void RunFurtherChecks(const std::vector<ConfigCheck>& checks, const ServeConfig& config,
                      ConfigReport* report) {
  for (const ConfigCheck& check : checks) {
    Status status = check(config);
    if (status.ok()) continue;
    std::istringstream lines(status.message());
    for (std::string line; std::getline(lines, line);) {
      report->problems.push_back({"", line, status.code() == StatusCode::kUnimplemented});
    }
  }
}

Status ProblemsStatus(const std::string& source, const std::vector<ConfigProblem>& problems) {
  std::string text =
      source + ": " + std::to_string(problems.size()) + (problems.size() == 1 ? " problem" : " problems");
  for (const ConfigProblem& problem : problems) {
    text += "\n  " + (problem.field.empty() ? "" : problem.field + ": ") + problem.text;
  }
  bool all_later =
      std::all_of(problems.begin(), problems.end(), [](const auto& problem) { return problem.later; });
  return (all_later ? Unimplemented(text) : InvalidArgument(text)).WithParam(problems.front().field);
}

// Chunked prompts are how every step works here, so asking for nothing else asks for nothing missing.
bool AsksOnlyForSplitfuse(const ServeConfig& config) {
  return config.model.plugin_params.plugin_type == "splitfuse";
}

void ListIdleFields(LoadedConfig* loaded) {
  loaded->without_effect_yet = FieldsSetTo(loaded->config, FieldState::kNotYet);
  if (AsksOnlyForSplitfuse(loaded->config))
    std::erase(loaded->without_effect_yet, "plugin_params.plugin_type");
  const StringList ignored = FieldsSetTo(loaded->config, FieldState::kIgnored);
  for (const SectionDeclaration* section : AllSections()) {
    for (const FieldDeclaration& field : section->fields) {
      if (std::find(ignored.begin(), ignored.end(), field.FullName()) == ignored.end()) continue;
      loaded->ignored.push_back(field.FullName() + " (" + field.state.reason + ")");
    }
  }
}

std::string Line(const std::string& start, const std::vector<std::string>& items) {
  std::string line;
  for (const std::string& item : items) line += (line.empty() ? start : ", ") + item;
  return line;
}

}  // namespace

std::string LoadedConfig::WithoutEffectLine() const {
  return Line("accepted, without effect yet: ", without_effect_yet);
}

std::string LoadedConfig::IgnoredLine() const {
  return Line("accepted and ignored: ", ignored);
}

ConfigLocation FindConfigFile(const std::string& config_file_argument, const std::string& executable_path,
                              const Environment& environment) {
  // The folder above conf/, as far as the path says.
  auto home_of = [](const std::string& path) { return ParentFolder(ParentFolder(path)); };
  if (!config_file_argument.empty()) {
    return {config_file_argument, home_of(config_file_argument), "--config-file"};
  }
  if (auto path = environment.Get("MIES_CONFIG_JSON_PATH"))
    return {*path, home_of(*path), "MIES_CONFIG_JSON_PATH"};
  const std::string below_home = "/conf/config.json";
  if (auto home = environment.Get("MINDIE_LLM_HOME_PATH"); home && Exists(*home + "/__init__.py")) {
    return {*home + below_home, *home, "MINDIE_LLM_HOME_PATH"};
  }
  if (auto home = environment.Get("MIES_INSTALL_PATH"))
    return {*home + below_home, *home, "MIES_INSTALL_PATH"};
  const std::string home = ParentFolder(ParentFolder(executable_path));
  return {home + below_home, home, "the program's folder"};
}

Result<LoadedConfig> ParseServeConfig(std::string_view text, const std::string& source,
                                      const Environment& environment,
                                      const std::vector<ConfigCheck>& further_checks) {
  Result<JsonText> parsed = ParseJsonText(text);
  if (!parsed.ok()) {
    return InvalidArgument(source + ": Json file is invalid. Please check json format! " +
                           parsed.status().message());
  }
  ConfigReport report;
  report.warnings = std::move(parsed->duplicates);
  PresentFields present;
  LoadedConfig loaded;
  loaded.path = source;
  loaded.config = ReadSections(parsed->value, &report, &present);
  ApplyEnvironment(environment, &loaded.config, &report, &present);
  CheckAcrossFields(present, &loaded.config, &report);
  RunFurtherChecks(further_checks, loaded.config, &report);
  if (!report.problems.empty()) return ProblemsStatus(source, report.problems);
  loaded.warnings = std::move(report.warnings);
  loaded.adjustments = std::move(report.adjustments);
  ListIdleFields(&loaded);
  return loaded;
}

Result<LoadedConfig> LoadServeConfig(const ConfigLocation& location, const Environment& environment,
                                     const std::vector<ConfigCheck>& further_checks) {
  const bool check_permissions = environment.Get("MINDIE_CHECK_INPUTFILES_PERMISSION").value_or("1") != "0";
  std::vector<std::string> warnings;
  Result<std::string> text = ReadConfigFile(location.path, check_permissions, &warnings);
  if (!text.ok()) {
    return Status(text.status().code(),
                  text.status().message() + " (looked for it by " + location.found_by + ")");
  }
  ASSIGN_OR_RETURN(LoadedConfig loaded, ParseServeConfig(*text, location.path, environment, further_checks));
  loaded.home = location.home;
  loaded.warnings.insert(loaded.warnings.begin(), warnings.begin(), warnings.end());
  return loaded;
}

}  // namespace phalanx
