# Golden values of Cox regressions, from R's survival: Rscript cox.R, in this folder. Writes cox.csv and the data that
# are not shipped by lifelines or stored as they are (whas500.csv). The tests read the files; they do not run R.
suppressMessages(library(survival))

out <- data.frame()
keep <- function(model, quantity, name, value)
  out <<- rbind(out, data.frame(model, quantity, name, value = format(value, digits = 15)))

record <- function(model, formula, data, ties = "efron", cluster = NULL) {
  environment(formula) <- environment()
  data$cl <- if (is.null(cluster)) seq_len(nrow(data)) else data[[cluster]]
  fit <- coxph(formula, data, ties = ties, cluster = cl, x = TRUE)
  plain <- coxph(formula, data, ties = ties)
  names <- names(coef(fit))
  keep(model, "coef", names, coef(fit))
  keep(model, "se", names, sqrt(diag(fit$naive.var)))
  keep(model, "robust_se", names, sqrt(diag(fit$var)))
  ci <- summary(if (is.null(cluster)) plain else fit)
  keep(model, "lower", names, ci$conf.int[, "lower .95"])
  keep(model, "p", names, ci$coefficients[, ncol(ci$coefficients)])
  keep(model, "wald", "all", (if (is.null(cluster)) plain else fit)$wald.test)
  keep(model, "score", "all", plain$score)
  keep(model, "lr", "all", 2 * diff(plain$loglik))
  keep(model, "n", "all", plain$n)
  keep(model, "events", "all", plain$nevent)
  zph <- cox.zph(plain)$table
  keep(model, "ph", "all", zph["GLOBAL", "chisq"])
}

lung <- transform(survival::lung, status = status - 1, hospital = (seq_len(nrow(survival::lung)) - 1) %% 3)
record("lung", Surv(time, status) ~ age + sex, lung)
record("lung breslow", Surv(time, status) ~ age + sex, lung, "breslow")
record("lung by ecog", Surv(time, status) ~ age + sex + wt.loss + strata(ph.ecog), lung)
record("lung by hospital and ecog", Surv(time, status) ~ age + sex + strata(hospital, ph.ecog), lung)
record("lung by hospital", Surv(time, status) ~ age + sex + ph.karno + strata(hospital), lung)
lung$year <- ceiling(lung$time / 91.3125)
record("lung quarters", Surv(year, status) ~ age + sex, lung)
record("lung quarters breslow", Surv(year, status) ~ age + sex, lung, "breslow")

record("ovarian", Surv(futime, fustat) ~ age + rx + resid.ds, ovarian)
record("veteran", Surv(time, status) ~ trt + celltype + karno + age, veteran)
record("veteran by trt", Surv(time, status) ~ karno + diagtime + strata(trt), veteran)
record("colon by person", Surv(time, status) ~ rx + age + nodes + strata(etype), colon, cluster = "id")
colon$hospital <- colon$id %% 3
record("colon recurrences", Surv(time, status) ~ rx + sex + age + obstruct + perfor + adhere + nodes + differ + extent,
       subset(colon, etype == 1))
record("colon by hospital", Surv(time, status) ~ age + nodes + sex + strata(hospital), colon, cluster = "id")

gbsg <- transform(survival::gbsg, grade = factor(grade), hospital = (seq_len(nrow(survival::gbsg)) - 1) %% 3)
record("gbsg2", Surv(rfstime, status) ~ hormon + age + meno + size + grade + nodes + pgr + er, gbsg)
record("gbsg2 breslow", Surv(rfstime, status) ~ hormon + age + meno + size + grade + nodes + pgr + er, gbsg, "breslow")
record("gbsg2 by hospital and grade", Surv(rfstime, status) ~ hormon + age + nodes + strata(hospital, grade), gbsg)
whas500 <- read.csv("whas500.csv")
record("whas500", Surv(lenfol, fstat) ~ age + gender + hr + diasbp + bmi + chf, whas500)
record("whas500 breslow", Surv(lenfol, fstat) ~ age + gender + hr + diasbp + bmi + chf, whas500, "breslow")

write.csv(lung, "cox_lung.csv", row.names = FALSE, quote = FALSE, na = "")
write.csv(ovarian, "cox_ovarian.csv", row.names = FALSE, quote = FALSE, na = "")
write.csv(veteran, "cox_veteran.csv", row.names = FALSE, quote = FALSE, na = "")
write.csv(colon, "cox_colon.csv", row.names = FALSE, quote = FALSE, na = "")
write.csv(gbsg, "gbsg.csv", row.names = FALSE, quote = FALSE)
rossi <- read.csv(commandArgs(trailingOnly = TRUE)[1])
record("rossi", Surv(week, arrest) ~ fin + age + race + wexp + mar + paro + prio, rossi)
record("rossi breslow", Surv(week, arrest) ~ fin + age + race + wexp + mar + paro + prio, rossi, "breslow")
write.csv(out, "cox.csv", row.names = FALSE, quote = FALSE)
