# Golden numbers of competing_risks, by R's survival and cmprsk on its data set mgus2: months to plasma cell malignancy (1) or to
# death without it (2). Writes mgus2.csv (the data) and competing_risks.csv. Run once: Rscript competing_risks.R
library(survival)
library(cmprsk)
data <- with(mgus2, data.frame(
  sex = as.character(sex),
  time = ifelse(pstat == 0, futime, ptime),
  event = ifelse(pstat == 0, 2 * death, 1)))
write.csv(data, "mgus2.csv", row.names = FALSE, quote = FALSE)

tau <- 240
found <- NULL
add <- function(...) found <<- rbind(found, data.frame(...))
for (sex in c("F", "M")) {
  fit <- survfit(Surv(time, factor(event)) ~ 1, data = data[data$sex == sex, ], conf.type = "log-log")
  at <- summary(fit, times = c(60, 120, tau))
  lost <- residuals(fit, times = tau, type = "auc")
  mean <- summary(fit, rmean = tau)$table[, "rmean"]
  for (cause in 1:2) {
    for (row in 1:3) add(what = "incidence", sex = sex, cause = cause, time = at$time[row],
      estimate = at$pstate[row, cause + 1], se = at$std.err[row, cause + 1],
      lower = at$lower[row, cause + 1], upper = at$upper[row, cause + 1])
    add(what = "time_lost", sex = sex, cause = cause, time = tau, estimate = mean[cause + 1],
      se = sqrt(sum(lost[, cause + 1]^2)), lower = NA, upper = NA)
  }
}
for (cause in 1:2) {
  test <- survdiff(Surv(time, event == cause) ~ sex, data = data)
  add(what = "log_rank", sex = "", cause = cause, time = NA, estimate = test$chisq, se = NA, lower = NA, upper = NA)
}
gray <- cuminc(data$time, data$event, data$sex)
at <- timepoints(gray, c(60, 120, tau))
for (name in rownames(at$est)) for (column in 1:3) {
  parts <- strsplit(name, " ")[[1]]
  add(what = "cmprsk", sex = parts[1], cause = as.integer(parts[2]), time = as.numeric(colnames(at$est)[column]),
    estimate = at$est[name, column], se = sqrt(at$var[name, column]), lower = NA, upper = NA)
}
found$estimate <- sprintf("%.12g", found$estimate); found$se <- sprintf("%.12g", found$se)
found$lower <- sprintf("%.12g", found$lower); found$upper <- sprintf("%.12g", found$upper)
write.csv(found, "competing_risks.csv", row.names = FALSE, quote = FALSE)
