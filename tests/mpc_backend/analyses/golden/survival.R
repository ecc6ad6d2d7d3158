# Golden numbers of survival without a Cox regression, by R's survival on cox_lung.csv, cox_veteran.csv, gbsg.csv and
# whas500.csv of this folder: curves, medians, restricted means, their differences and the log-rank tests. Writes survival.csv. Run once: Rscript survival.R
suppressMessages(library(survival))

found <- NULL
keep <- function(model, of, what, value)
  found <<- rbind(found, data.frame(model, of, what, value = sprintf("%.12g", value)))

# Every group's curve and counts at `times`, its median, and its restricted means up to `taus`; then each group against the first.
curves <- function(model, data, groups, times, taus) {
  means <- list()
  for (group in groups) {
    rows <- if (group == "all") data else data[data$group == group, ]
    fit <- survfit(Surv(time, status) ~ 1, rows, conf.type = "log-log")
    table <- summary(fit)$table
    keep(model, group, "n", table["records"]); keep(model, group, "events", table["events"])
    keep(model, group, "median", table["median"])
    keep(model, group, "median lower", table["0.95LCL"]); keep(model, group, "median upper", table["0.95UCL"])
    at <- summary(fit, times = times)
    for (i in seq_along(times)) {
      what <- sprintf("%s(%g)", c("S", "SE S", "lower S", "upper S", "at risk", "events by"), times[i])
      value <- c(at$surv[i], at$std.err[i], at$lower[i], at$upper[i], sum(rows$time >= times[i]),
                 sum(rows$status[rows$time <= times[i]]))
      for (k in seq_along(what)) keep(model, group, what[k], value[k])
    }
    for (tau in taus) {
      mean <- summary(fit, rmean = tau)$table[c("rmean", "se(rmean)")]
      keep(model, group, sprintf("RMST(%g)", tau), mean[1]); keep(model, group, sprintf("SE RMST(%g)", tau), mean[2])
      means[[paste(group, tau)]] <- mean
    }
  }
  for (tau in taus) for (group in groups[-1]) if (groups[1] != "all") {
    mine <- means[[paste(group, tau)]]; base <- means[[paste(groups[1], tau)]]
    of <- sprintf("%s - %s, RMST(%g)", group, groups[1], tau)
    difference <- mine[1] - base[1]; se <- sqrt(mine[2]^2 + base[2]^2)
    ratio <- mine[1] / base[1]; spread <- exp(qnorm(0.975) * sqrt((mine[2] / mine[1])^2 + (base[2] / base[1])^2))
    keep(model, of, "difference", difference); keep(model, of, "se", se)
    keep(model, of, "lower", difference - qnorm(0.975) * se); keep(model, of, "upper", difference + qnorm(0.975) * se)
    keep(model, of, "p", 2 * pnorm(-abs(difference / se)))
    keep(model, of, "ratio", ratio); keep(model, of, "ratio lower", ratio / spread); keep(model, of, "ratio upper", ratio * spread)
  }
}
lung <- read.csv("cox_lung.csv")
lung$group <- as.character(lung$sex)
curves("lung, everybody", lung, "all", c(90, 365, 700), c(365, 965))
curves("lung by sex", lung, c("1", "2"), c(90, 365, 700), c(365, 965))
months <- transform(lung, time = (time * 16 + 486) %/% 487)
curves("lung by sex, months", months, c("1", "2"), c(6, 12, 24), c(12, 24))
veteran <- read.csv("cox_veteran.csv")
veteran$group <- veteran$celltype
cells <- c("squamous", "smallcell", "adeno", "large")
curves("veteran by cell type", veteran, cells, c(30, 90), 150)
gbsg <- transform(read.csv("gbsg.csv"), time = rfstime, group = as.character(hormon))
curves("gbsg2 by hormone treatment", gbsg, c("0", "1"), c(365, 1000, 1825), c(1000, 1825))
whas500 <- transform(read.csv("whas500.csv"), time = lenfol, status = fstat, group = as.character(gender))
curves("whas500 by sex", whas500, c("0", "1"), c(30, 365, 1096), c(365, 1096))

# Log-rank, G^rho, and the log-rank test within strata.
tests <- function(model, data, groups, strata) {
  for (rho in c(0, 1, 0.5)) {
    fit <- survdiff(Surv(time, status) ~ group, data, rho = rho)
    of <- if (rho == 0) "log-rank" else sprintf("G^%g", rho)
    keep(model, of, "chi2", fit$chisq); keep(model, of, "df", length(groups) - 1); keep(model, of, "p", fit$pvalue)
  }
  data$within <- data[[strata]]
  fit <- survdiff(Surv(time, status) ~ group + strata(within), data)
  of <- paste("log-rank stratified by", strata)
  keep(model, of, "chi2", fit$chisq); keep(model, of, "df", length(groups) - 1); keep(model, of, "p", fit$pvalue)
}
tests("lung by sex", lung, c("1", "2"), "ph.ecog")
tests("lung by sex, months", months, c("1", "2"), "hospital")
tests("veteran by cell type", veteran, cells, "trt")
tests("gbsg2 by hormone treatment", gbsg, c("0", "1"), "grade")
tests("whas500 by sex", whas500, c("0", "1"), "cvd")
write.csv(found, "survival.csv", row.names = FALSE)
