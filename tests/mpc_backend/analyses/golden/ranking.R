# Golden numbers of treatment_ranking, by R's survival on rotterdam.csv of this folder: time without death, and without relapse, on
# each of three treatments among patients of grade 3 within 12 years of age 60, standardised to the strata of all of them: period of
# surgery and tumour size. Writes ranking.csv. Run once: Rscript ranking.R
suppressMessages(library(survival))
data <- read.csv("rotterdam.csv")
data$treatment <- with(data, ifelse(hormon & chemo, "both", ifelse(hormon, "hormones", ifelse(chemo, "chemotherapy", "neither"))))
treatments <- c("neither", "hormones", "chemotherapy")
tau <- 60
similar <- subset(data, grade == 3 & abs(age - 60) <= 12 & treatment %in% treatments)
similar$stratum <- paste(similar$year >= 1989, similar$size != "<=20")
share <- table(similar$stratum) / nrow(similar)

found <- NULL
keep <- function(outcome, treatment, what, value)
  found <<- rbind(found, data.frame(outcome, treatment, what, value = sprintf("%.12g", value)))
months <- function(days) (days * 16 + 486) %/% 487
outcomes <- list(benefit = c("days", "death"), harm = c("recur_days", "recur"))
for (outcome in names(outcomes)) {
  similar$time <- months(similar[[outcomes[[outcome]][1]]]); similar$event <- similar[[outcomes[[outcome]][2]]]
  for (treatment in treatments) {
    mean <- variance <- parts <- 0
    arm <- similar[similar$treatment == treatment, ]
    for (stratum in names(share)) {
      rows <- arm[arm$stratum == stratum, ]
      table <- summary(survfit(Surv(time, event) ~ 1, rows), rmean = tau)$table
      weight <- share[[stratum]]
      mean <- mean + weight * table[["rmean"]]; variance <- variance + (weight * table[["se(rmean)"]])^2
      parts <- parts + weight^2 / sum(rows$time >= tau | rows$event == 1)
    }
    keep(outcome, treatment, "persons", nrow(arm))
    keep(outcome, treatment, "mean", mean); keep(outcome, treatment, "se", sqrt(variance))
    keep(outcome, treatment, "effective size", floor(1 / parts))
    m <- mean / tau; reach <- qnorm(0.975) * sqrt(variance) / tau / (m * (1 - m))
    keep(outcome, treatment, "lower", tau * plogis(qlogis(m) - reach)); keep(outcome, treatment, "upper", tau * plogis(qlogis(m) + reach))
  }
}
write.csv(found, "ranking.csv", row.names = FALSE)
print(table(similar$treatment, similar$stratum))
